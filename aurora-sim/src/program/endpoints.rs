//! Where a cluster is, for programs: JSON and environment variables.

use aurora_sim::Cluster;
use serde_json::{Value, json};

/// File in a cluster's folder that tells where everything is.
pub(super) const CONTROL_FILE: &str = "control.json";

/// Everything a client needs to know.
pub(super) fn describe(cluster: &Cluster, control: &str) -> Value {
    let names = cluster.names();
    let address = |host: &str| names.lookup(host).first().map(ToString::to_string).unwrap_or_default();
    let instances: Vec<Value> = cluster
        .instance_names()
        .into_iter()
        .map(|name| {
            let host = cluster.instance_endpoint(&name);
            json!({ "name": name, "host": host, "address": address(&host) })
        })
        .collect();
    json!({
        "cluster": cluster.name(),
        "engine": cluster.engine(),
        "control": control,
        "dir": cluster.folder(),
        "ca": cluster.ca_pem_path(),
        "port": cluster.port(),
        "user": "app",
        "password": "secret",
        "database": "app",
        "writer_host": cluster.endpoint(),
        "reader_host": cluster.reader_endpoint(),
        "writer_url": url(cluster, &cluster.endpoint()),
        "reader_url": url(cluster, &cluster.reader_endpoint()),
        "instances": instances,
        "names": names.all().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    })
}

/// Environment of a command that uses the cluster of this number, counted from 1.
pub(super) fn environment(cluster: &Cluster, control: &str, number: usize) -> Vec<(String, String)> {
    let suffix = if number == 1 { String::new() } else { format!("_{number}") };
    let mut variables = vec![
        ("URL", url(cluster, &cluster.endpoint())),
        ("READER_URL", url(cluster, &cluster.reader_endpoint())),
        ("CONTROL", control.to_owned()),
        ("DIR", cluster.folder().display().to_string()),
    ];
    if let Some(authority) = cluster.ca_pem_path() {
        variables.push(("CA", authority.display().to_string()));
    }
    variables.into_iter().map(|(name, value)| (format!("AURORA_SIM_{name}{suffix}"), value)).collect()
}

fn url(cluster: &Cluster, host: &str) -> String {
    let engine = cluster.engine();
    let port = match cluster.port() {
        port if port == engine.default_port() => String::new(),
        other => format!(":{other}"),
    };
    format!("{}://app:secret@{host}{port}/app", engine.scheme())
}
