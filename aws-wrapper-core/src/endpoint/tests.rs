use super::*;
use crate::error::ErrorKind;
use crate::host::HostKey;
use EndpointKind::{
    CustomCluster, GlobalWriterCluster, Instance, IpAddress, LimitlessShardGroup, Other, Proxy,
    ProxyEndpoint, ReaderCluster, WriterCluster,
};

const OHIO: Option<&str> = Some("abc123.us-east-2.rds.amazonaws.com");

/// Host, kind, first label, region, suffix.
type Row = (&'static str, EndpointKind, Option<&'static str>, Option<&'static str>, Option<&'static str>);

const NAMES: &[Row] = &[
    ("db1.abc123.us-east-2.rds.amazonaws.com", Instance, Some("db1"), Some("us-east-2"), OHIO),
    ("db1.cluster-abc123.us-east-2.rds.amazonaws.com", WriterCluster, Some("db1"), Some("us-east-2"), OHIO),
    (
        "db1.cluster-ro-abc123.us-east-2.rds.amazonaws.com.",
        ReaderCluster,
        Some("db1"),
        Some("us-east-2"),
        OHIO,
    ),
    (
        "DB1.Cluster-Custom-abc123.us-east-2.rds.amazonaws.com",
        CustomCluster,
        Some("db1"),
        Some("us-east-2"),
        OHIO,
    ),
    ("p.proxy-abc123.us-east-2.rds.amazonaws.com", Proxy, Some("p"), Some("us-east-2"), OHIO),
    (
        "e.endpoint.proxy-abc123.us-east-2.rds.amazonaws.com",
        ProxyEndpoint,
        Some("e"),
        Some("us-east-2"),
        OHIO,
    ),
    (
        "s.shardgrp-abc123.us-east-2.rds.amazonaws.com",
        LimitlessShardGroup,
        Some("s"),
        Some("us-east-2"),
        OHIO,
    ),
    ("g.global-abc123.global.rds.amazonaws.com", GlobalWriterCluster, None, None, None),
    ("g.global-abc123.global.rds-fips.amazonaws.com", GlobalWriterCluster, None, None, None),
    (
        "db1.abc123.us-east-2.rds-fips.amazonaws.com",
        Instance,
        Some("db1"),
        Some("us-east-2"),
        Some("abc123.us-east-2.rds-fips.amazonaws.com"),
    ),
    (
        "db1.cluster-abc123.eusc-de-east-1.rds.amazonaws.eu",
        WriterCluster,
        Some("db1"),
        Some("eusc-de-east-1"),
        Some("abc123.eusc-de-east-1.rds.amazonaws.eu"),
    ),
    (
        "db1.cluster-abc123.rds.cn-northwest-1.amazonaws.com.cn",
        WriterCluster,
        Some("db1"),
        Some("cn-northwest-1"),
        Some("abc123.rds.cn-northwest-1.amazonaws.com.cn"),
    ),
    (
        "db1.cluster-abc123.cn-northwest-1.rds.amazonaws.com.cn",
        WriterCluster,
        Some("db1"),
        Some("cn-northwest-1"),
        Some("abc123.cn-northwest-1.rds.amazonaws.com.cn"),
    ),
    (
        "db1.cluster-abc123.rds.us-gov-east-1.amazonaws.com",
        WriterCluster,
        Some("db1"),
        Some("us-gov-east-1"),
        Some("abc123.rds.us-gov-east-1.amazonaws.com"),
    ),
    (
        "db1.cluster-abc123.rds.us-iso-east-1.c2s.ic.gov",
        WriterCluster,
        Some("db1"),
        Some("us-iso-east-1"),
        Some("abc123.rds.us-iso-east-1.c2s.ic.gov"),
    ),
    (
        "db1.cluster-abc123.rds.us-isob-east-1.sc2s.sgov.gov",
        WriterCluster,
        Some("db1"),
        Some("us-isob-east-1"),
        Some("abc123.rds.us-isob-east-1.sc2s.sgov.gov"),
    ),
    (
        "db1-green-123456.cluster-ro-abc123.us-east-2.rds.amazonaws.com",
        ReaderCluster,
        Some("db1-green-123456"),
        Some("us-east-2"),
        OHIO,
    ),
    ("db1.cluster-abc123.rds.amazonaws.com.cn", Other, None, None, None),
    ("name.cluster-abc.rds.cn-northwest-1.rds.amazonaws.com.cn", Other, None, None, None),
    ("db1.rds.us-east-2.rds.amazonaws.com", Other, None, None, None),
    ("x.elb.us-east-2.amazonaws.com", Other, None, Some("us-east-2"), None),
    ("10.1.2.3", IpAddress, None, None, None),
    ("::1", IpAddress, None, None, None),
    ("[::1]", IpAddress, None, None, None),
    ("fe80::1%eth0", IpAddress, None, None, None),
    ("2001:db8:0:0:0:0:0:1", IpAddress, None, None, None),
    ("0.1.2.3", Other, None, None, None),
    ("256.1.2.3", Other, None, None, None),
    ("1.2.3.4.example.com", Other, None, None, None),
    ("", Other, None, None, None),
    (".", Other, None, None, None),
    ("localhost", Other, None, None, None),
    ("rds.amazonaws.com", Other, None, None, None),
    (".abc123.us-east-2.rds.amazonaws.com", Other, None, None, None),
    ("db1.cluster-.us-east-2.rds.amazonaws.com", Other, None, None, None),
    ("db1.cluster-a-b.us-east-2.rds.amazonaws.com", Other, None, None, None),
    ("db1.abc123.us-east.rds.amazonaws.com", Other, None, None, None),
    ("db1.abc123.east-2.rds.amazonaws.com", Other, None, None, None),
    ("db1.abc123.us-east-2.rds.amazonaws.com.example.com", Other, None, None, None),
    ("e.endpoint.abc123.us-east-2.rds.amazonaws.com", Other, None, None, None),
    ("x.global-abc123.us-east-2.rds.amazonaws.com", Other, None, None, None),
    ("a.b.global-abc123.global.rds.amazonaws.com", Other, None, None, None),
];

#[test]
fn names_are_recognised() {
    for &(host, kind, name, region, suffix) in NAMES {
        let endpoint = Endpoint::parse(host);
        assert_eq!(endpoint.kind(), kind, "{host}");
        let (instance, cluster) = if kind == Instance { (name, None) } else { (None, name) };
        assert_eq!((endpoint.instance_id(), endpoint.cluster_id()), (instance, cluster), "{host}");
        assert_eq!((endpoint.region(), endpoint.dns_suffix()), (region, suffix), "{host}");
        let pattern = suffix.filter(|_| kind != ProxyEndpoint).map(|suffix| format!("?.{suffix}"));
        assert_eq!(endpoint.instance_host_pattern().map(|pattern| pattern.to_string()), pattern, "{host}");
        let has_writer = matches!(kind, WriterCluster | ReaderCluster | LimitlessShardGroup);
        let writer = has_writer.then(|| format!("{}.cluster-{}", name.unwrap(), suffix.unwrap()));
        assert_eq!(endpoint.cluster_host(), writer, "{host}");
        assert_eq!(endpoint.is_rds_dns(), name.is_some(), "{host}");
        assert_eq!(endpoint.is_rds(), !matches!(kind, IpAddress | Other), "{host}");
        let is_cluster = matches!(kind, WriterCluster | ReaderCluster | CustomCluster | GlobalWriterCluster);
        assert_eq!(endpoint.is_cluster(), is_cluster, "{host}");
    }
}

#[test]
fn green_and_old_names_are_told_by_their_first_label() {
    for (host, green, neither, removed) in [
        ("test-instance-green-abcdef.domain.com", true, false, "test-instance.domain.com"),
        ("Test-Instance-GREEN-ABC123.domain.com", true, false, "Test-Instance.domain.com"),
        ("test-instance-green-abcdef", true, false, "test-instance"),
        ("x-green-123456-green-123456.domain.com", true, false, "x-green-123456.domain.com"),
        (
            "test-instance-green-abcdef-12345-green-000000.domain.com",
            true,
            false,
            "test-instance-green-abcdef-12345.domain.com",
        ),
        ("test-instance-green-12345.domain.com", false, true, "test-instance-green-12345.domain.com"),
        (
            "test-instance-green-abcdef-12345.domain.com",
            false,
            true,
            "test-instance-green-abcdef-12345.domain.com",
        ),
        ("x.y-green-abcdef.com", false, true, "x.y-green-abcdef.com"),
        ("-green-abcdef.com", false, true, "-green-abcdef.com"),
        ("x-old1.domain.com", false, false, "x-old1.domain.com"),
        ("x-old12.domain.com", false, true, "x-old12.domain.com"),
        ("x.y-old1.com", false, true, "x.y-old1.com"),
        ("", false, true, ""),
        ("x-green-äöü.com", false, true, "x-green-äöü.com"),
    ] {
        assert_eq!(is_green_host(host), green, "{host}");
        assert_eq!(is_not_green_or_old(host), neither, "{host}");
        assert_eq!(remove_green(host), removed, "{host}");
    }
}

#[test]
fn a_port_is_cut_off_and_an_ipv6_address_is_not() {
    for (host, bare) in [
        ("h:5432", "h"),
        ("h", "h"),
        ("h:", "h:"),
        ("h:x", "h:x"),
        ("10.1.2.3:1", "10.1.2.3"),
        ("::1", "::1"),
        ("2001:db8::1:5432", "2001:db8::1:5432"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[::1]:5432", "[::1]"),
        ("[::1]", "[::1]"),
        ("1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8"),
        ("", ""),
    ] {
        assert_eq!(strip_port(host), bare, "{host}");
    }
}

#[test]
fn patterns_make_hosts() {
    for (text, shown, suffix, host) in [
        (
            "?.xyz.us-east-2.rds.amazonaws.com",
            "?.xyz.us-east-2.rds.amazonaws.com",
            "xyz.us-east-2.rds.amazonaws.com",
            "instance-1.xyz.us-east-2.rds.amazonaws.com:5432",
        ),
        (
            "?.DB.example.com.:6000",
            "?.db.example.com:6000",
            "db.example.com",
            "instance-1.db.example.com:6000",
        ),
        ("db-?.example.com", "db-?.example.com", "example.com", "db-instance-1.example.com:5432"),
        ("?", "?", "", "instance-1:5432"),
    ] {
        let pattern = HostPattern::parse(text).unwrap();
        assert_eq!((pattern.to_string().as_str(), pattern.suffix()), (shown, suffix));
        let host_of = |instance| pattern.host_for(instance, 5432).unwrap();
        assert_eq!(host_of("Instance-1").to_string(), host);
        assert!(pattern.matches(&host_of("i"), 5432));
        let elsewhere = HostKey::new(host_of("i").host(), 1).unwrap();
        assert!(!pattern.matches(&elsewhere, 5432), "{elsewhere}");
        for name in [format!("i.{suffix}.org"), format!("a.{}", host_of("i").host()), "127.0.0.1".to_owned()]
        {
            assert!(!pattern.matches(&HostKey::new(&name, elsewhere.port()).unwrap(), 1), "{name}");
        }
    }
    let pattern = Endpoint::parse(NAMES[1].0).instance_host_pattern().unwrap();
    assert_eq!(pattern, HostPattern::parse("?.abc123.us-east-2.rds.amazonaws.com").unwrap());
    assert_eq!(Some(pattern.suffix()), OHIO);
    assert_eq!(pattern.host_for("db2", 1).unwrap().host(), "db2.abc123.us-east-2.rds.amazonaws.com");
}

#[test]
fn patterns_that_cannot_name_instances_are_refused() {
    for text in [
        "",
        "db1.example.com",
        "?.?.example.com",
        "??.example.com",
        "db.?.example.com",
        "?.proxy-xyz.us-east-2.rds.amazonaws.com",
        "?.endpoint.proxy-xyz.us-east-2.rds.amazonaws.com",
        "?.cluster-custom-xyz.us-east-2.rds.amazonaws.com",
        "?.cluster-xyz.us-east-2.rds.amazonaws.com",
        "?.cluster-ro-xyz.us-east-2.rds.amazonaws.com",
        "?.shardgrp-xyz.us-east-2.rds.amazonaws.com",
        "?.global-xyz.global.rds.amazonaws.com",
        "?.example.com:",
        "?.example.com:0",
        "?.example.com:+1",
        "?.example.com:65536",
        "?.example.com:1:2",
        "?..example.com",
        "? .example.com",
        "?/x",
        "[?]",
    ] {
        let error = HostPattern::parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`cluster_instance_host_pattern`"), "{error}");
    }
}

#[test]
fn a_server_cannot_lead_a_connection_to_another_domain() {
    let pattern = HostPattern::parse("?.example.com").unwrap();
    let long = "x".repeat(64);
    for instance in ["", "a.b", "evil.net/", "a b", "a@b", "a:1", "ä", "a?", &long] {
        assert!(pattern.host_for(instance, 5432).is_err(), "{instance}");
    }
}

#[test]
fn no_text_breaks_the_parsers() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let parts = [
        ".",
        "-",
        ":",
        "?",
        "[",
        "]",
        "%",
        "rds",
        "cluster-",
        "ro-",
        "proxy-",
        ".endpoint.",
        "global",
        "-green-",
        "a1b2c3",
        "-old1",
        "ä",
        "\0",
        " ",
        "us-east-1",
        ".amazonaws.com",
        ".cn",
        "1",
        "::",
        "5432",
        "elb",
    ];
    for _ in 0..200_000 {
        let mut text = random.choice(NAMES).unwrap().0.to_owned();
        for _ in 0..random.usize(..6) {
            let places: Vec<usize> = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect();
            let place = |random: &mut fastrand::Rng| places[random.usize(..places.len())];
            let (a, b) = (place(&mut random), place(&mut random));
            match random.u8(..3) {
                0 => text.insert_str(a, random.choice(parts).unwrap()),
                1 => text.replace_range(a.min(b)..a.max(b), "x"),
                _ => text.truncate(a.max(b)),
            }
        }
        check(&text);
    }
}

fn check(text: &str) {
    let endpoint = Endpoint::parse(text);
    assert!(endpoint.region().is_some() || !endpoint.is_rds_dns(), "{text:?}");
    assert_eq!(endpoint.dns_suffix().is_some(), endpoint.is_rds_dns(), "{text:?}");
    assert!(endpoint.dns_suffix().is_none_or(|suffix| endpoint.host().ends_with(suffix)), "{text:?}");
    if let Some(writer) = endpoint.cluster_host() {
        assert_eq!(Endpoint::parse(&writer).kind(), WriterCluster, "{text:?}");
    }
    if let Some(pattern) = endpoint.instance_host_pattern() {
        assert_eq!(HostPattern::parse(&pattern.to_string()).ok(), Some(pattern.clone()), "{text:?}");
        let host = pattern.host_for("instance-1", 5432).unwrap();
        assert_eq!(Endpoint::parse(host.host()).instance_id(), Some("instance-1"), "{text:?}");
    }
    if let Ok(pattern) = HostPattern::parse(text) {
        assert_eq!(HostPattern::parse(&pattern.to_string()).unwrap(), pattern, "{text:?}");
        assert!(pattern.host_for("instance-1", 5432).unwrap().host().ends_with(pattern.suffix()), "{text:?}");
    }
    let removed = remove_green(text);
    assert_eq!(
        text.len() - removed.len(),
        if is_green_host(text) { "-green-abcdef".len() } else { 0 },
        "{text:?}"
    );
    if !first_label(text).is_empty() {
        let (label, rest) = text.split_at(first_label(text).len());
        let green = format!("{label}-green-0a1b2c{rest}");
        assert!(is_green_host(&green) && remove_green(&green) == text, "{text:?}");
    }
    let bare = strip_port(text);
    assert!(text.starts_with(bare), "{text:?}");
    if endpoint.kind() == IpAddress && text.contains(':') {
        assert_eq!(bare, text);
        let address = endpoint.host();
        assert_eq!(strip_port(&format!("[{address}]:5432")), format!("[{address}]"), "{text:?}");
    } else if !text.contains(':') {
        assert_eq!(strip_port(&format!("{text}:5432")), text);
    }
}
