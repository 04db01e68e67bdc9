//! The system's own resolver, where hosts file, network and server of names belong to the test.
//!
//! Each test runs itself again in namespaces of its own, as root there.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, ErrorKind};
use aws_wrapper_core::resolver::{LookupError, Resolver, SystemResolver};
use aws_wrapper_core::services::Services;
use integration_tests::{Adapter, MySql, Pg, SOON, Target, host_down, on_plain};
use tokio::time::Instant;

#[test]
fn a_hosts_file_is_followed_as_it_changes() {
    in_namespaces("system_names::a_hosts_file_is_followed_as_it_changes", |folder| {
        let hosts = folder.join("hosts");
        on_plain(async || {
            for (text, expected) in
                [("127.0.0.7 moving.test\n", &["127.0.0.7"][..]), ("127.0.0.8 moving.test\n", &["127.0.0.8"])]
            {
                fs::write(&hosts, text).unwrap();
                assert_eq!(addresses("moving.test").await.unwrap(), expected, "{text}");
            }
            fs::write(&hosts, "").unwrap();
            let gone = addresses("moving.test").await;
            assert!(matches!(gone, Err(LookupError::NoSuchName)), "{gone:?}");
        });
    });
}

#[test]
fn a_server_of_names_that_fails_is_not_a_name_that_is_missing() {
    in_namespaces("system_names::a_server_of_names_that_fails_is_not_a_name_that_is_missing", |_| {
        on_plain(async || {
            assert_eq!(addresses("here.test").await.unwrap(), ["127.0.0.9"]);
            for missing in ["missing.test", "empty.test"] {
                let answer = addresses(missing).await;
                assert!(matches!(answer, Err(LookupError::NoSuchName)), "{missing}: {answer:?}");
            }
            let answer = addresses("fails.test").await;
            assert!(matches!(answer, Err(LookupError::Failed(_))), "{answer:?}");
        });
    });
}

#[test]
fn a_server_of_names_that_never_answers_holds_up_neither_connects_nor_the_end() {
    let name = "system_names::a_server_of_names_that_never_answers_holds_up_neither_connects_nor_the_end";
    in_namespaces(name, |_| {
        let started = Instant::now();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            is_given_up::<Pg>().await;
            is_given_up::<MySql>().await;
        });
        runtime.shutdown_background();
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    });
}

async fn is_given_up<A: Adapter>() {
    let services = Services::new();
    let mut events = services.subscribe();
    let params = &[("connect_timeout_ms", "200"), ("plugins", "none")];
    let target = Target { host: "silent.test", port: 1, services: services.clone(), params };
    let error = A::connect(&A::connector(&target).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Lookup), "{error:?}");
    assert!(error.to_string().contains("no answer within 200 ms"), "{error}");
    assert!(host_down(&mut events).is_empty());
    services.shutdown(Duration::from_secs(5)).await.unwrap();
}

async fn addresses(host: &str) -> Result<Vec<String>, LookupError> {
    let found = SystemResolver.resolve(host, 5432).await?;
    assert!(found.iter().all(|address| address.port() == 5432), "{found:?}");
    Ok(found.iter().map(|address| address.ip().to_string()).collect())
}

/// Says to the test that it is inside, and where its files are.
const FOLDER: &str = "SYSTEM_NAMES_FOLDER";
/// The files of the system that a test has for itself; the C library asks longer than any test waits.
const FILES: &[(&str, &str)] = &[
    ("hosts", ""),
    ("resolv.conf", "nameserver 127.0.0.53\noptions timeout:30 attempts:1\n"),
    ("nsswitch.conf", "hosts: files dns\n"),
];
/// What happens in the new namespaces before the test starts again: `$1` is the folder.
const PRELUDE: &str = r#"
ip link set lo up || exit 125
for file in "$1"/*; do mount --bind "$file" "/etc/${file##*/}" || exit 125; done
shift; exec "$@"
"#;

/// Runs the test of that name again, alone, in namespaces of its own; there it is `test`.
fn in_namespaces(name: &str, test: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        serve_names();
        return test(Path::new(&folder));
    }
    let folder = Folder::new(name);
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = Command::new("unshare");
    command.args(if is_root { &[][..] } else { &["--user", "--map-root-user"] });
    command.args(["--mount", "--net", "--", "sh", "-c", PRELUDE, name]).arg(&folder.0);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]);
    let output = command.env(FOLDER, &folder.0).output().expect("`unshare` is there");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // A wrong name would be no test at all, which is no failure either.
    assert!(output.status.success() && out.contains("1 passed"), "{}\n{out}\n{err}", output.status);
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = name.rsplit("::").next().unwrap_or(name);
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in FILES {
            fs::write(folder.join(file), text).unwrap();
        }
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Answers questions about names, by the first label, for as long as the process lives.
fn serve_names() {
    let socket = UdpSocket::bind("127.0.0.53:53").expect("nobody else is in this network");
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut question) {
            if let Some(answer) = answer(&question[..length]) {
                socket.send_to(&answer, asker).unwrap();
            }
        }
    });
}

/// The answer of RFC 1035 to a question of the C library: a header of 12 bytes, the name as labels, type and class.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    const ADDRESS: &[u8] = &[0, 1];
    let name = &question[12..];
    let end = 12 + name.iter().position(|byte| *byte == 0)? + 5;
    let label = &name[1..=usize::from(name[0])];
    let (code, address) = match label {
        b"silent" => return None,
        b"here" => (0, Some(IpAddr::from([127, 0, 0, 9]))),
        b"empty" => (0, None),
        b"fails" => (2, None),
        _ => (3, None),
    };
    let address = address.filter(|_| &question[end - 4..end - 2] == ADDRESS);
    let answers = u8::from(address.is_some());
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    answer.extend(&question[12..end]);
    if let Some(IpAddr::V4(address)) = address {
        // The name in the question, type and class, no time to live, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
