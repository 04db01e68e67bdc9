//! The program, from outside.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use aurora_sim::Engine;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cleanup::processes_of;
use crate::client::{connect_to, eventually, for_each_engine};

for_each_engine! {
    up_prints_endpoints_obeys_ctl_and_ends_cleanly_when_interrupted,
    killing_up_leaves_no_process_and_no_file,
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_aurora-sim");

fn run(options: &[&str], script: &str) -> Output {
    let shell = ["--", "sh", "-c", script];
    Command::new(PROGRAM).arg("run").args(options).args(shell).output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A cluster started by `up`; killed hard when the test fails.
struct Up {
    child: Child,
    folder: PathBuf,
    endpoints: Value,
}

impl Up {
    fn start(name: &str, options: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("aurora-sim-{name}-{}", std::process::id()));
        let mut command = Command::new(PROGRAM);
        command.arg("up").args(options).arg("--dir").arg(&folder).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, folder, endpoints: serde_json::from_str(&line).unwrap() }
    }

    fn ctl(&self, words: &[&str]) -> Output {
        Command::new(PROGRAM).args(["ctl", "--dir"]).arg(&self.folder).args(words).output().unwrap()
    }

    fn ask(&self, words: &[&str]) -> Value {
        serde_json::from_str(&out(&self.ctl(words))).unwrap()
    }

    fn signal(&mut self, signal: Signal) -> std::process::ExitStatus {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn nothing_is_left(folder: &Path) {
    eventually("everything is gone", async || !folder.exists() && processes_of(folder).is_empty()).await;
}

#[test]
fn run_shows_names_to_any_program_and_hands_its_exit_code_on() {
    let script =
        "getent hosts my-cluster.cluster-abc.us-east-2.rds.amazonaws.com && echo $AURORA_SIM_URL; exit 7";
    let output = run(&["--instances", "1", "--uid", "abc"], script);
    assert_eq!(output.status.code(), Some(7));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("127."), "{text}");
    assert!(
        text.contains("postgresql://app:secret@my-cluster.cluster-abc.us-east-2.rds.amazonaws.com/app"),
        "{text}"
    );
}

#[test]
fn run_has_mysql_servers_when_told_so() {
    let script = "echo $AURORA_SIM_URL $AURORA_SIM_READER_URL";
    let text = out(&run(&["--engine", "mysql", "--instances", "1", "--set", "max-connections=20"], script));
    let host = "us-east-2.rds.amazonaws.com/app";
    let urls = ["my-cluster.cluster-xyz", "my-cluster.cluster-ro-xyz"];
    let urls = urls.map(|name| format!("mysql://app:secret@{name}.{host}"));
    assert_eq!(text.trim(), urls.join(" "));
}

#[test]
fn names_follow_a_failover_inside_run() {
    let lookup = "getent hosts my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com | cut -d' ' -f1";
    let script =
        format!("{lookup}; {PROGRAM} ctl failover >/dev/null; {PROGRAM} ctl wait >/dev/null; {lookup}");
    let text = out(&run(&["--instances", "2"], &script));
    let addresses: Vec<&str> = text.lines().collect();
    assert_eq!(addresses.len(), 2, "{text}");
    assert_ne!(addresses[0], addresses[1]);
}

#[test]
fn run_can_have_two_clusters() {
    let script = "getent hosts my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com \
                  my-cluster-2.cluster-xyz2.us-east-2.rds.amazonaws.com; echo $AURORA_SIM_URL_2";
    let text = out(&run(&["--instances", "1", "--clusters", "2"], script));
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("@my-cluster-2.cluster-xyz2."), "{text}");
}

#[tokio::test]
async fn killing_run_leaves_no_process_and_no_file() {
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--instances", "2", "--", "sh", "-c"]);
    command.arg("trap '' INT TERM; echo $AURORA_SIM_DIR $AURORA_SIM_HOSTS; sleep 3210 & sleep 3210; exit 0");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (folder, hosts) = line.trim().split_once(' ').unwrap();
    let (folder, hosts) = (Path::new(folder), Path::new(hosts).parent().unwrap());
    assert!(folder.exists() && hosts.exists() && !processes_of(folder).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_is_left(folder).await;
    nothing_is_left(hosts).await;
    eventually("the command's processes are gone", async || processes_of(Path::new("sleep 3210")).is_empty())
        .await;
}

async fn up_prints_endpoints_obeys_ctl_and_ends_cleanly_when_interrupted(engine: Engine) {
    let word = engine.to_string();
    let mut up = Up::start(&format!("up-{word}"), &["--engine", &word, "--instances", "2"]);
    assert_eq!(up.endpoints["engine"], word.as_str());
    let address =
        |instance: usize| up.endpoints["instances"][instance]["address"].as_str().unwrap().parse().unwrap();
    let client = connect_to(engine, address(0), engine.default_port()).await.unwrap();
    client.run("CREATE TABLE t (i int)").await.unwrap();

    let report = up.ask(&["failover", "--to", "instance-2", "--promote-after", "50ms"]);
    assert_eq!(report["new_writer"], "instance-2");
    assert!(report["writable_at_unix_ms"].as_f64() > report["killed_at_unix_ms"].as_f64());
    up.ask(&["wait"]);
    let client = connect_to(engine, address(1), engine.default_port()).await.unwrap();
    assert_eq!(client.role().await, "writer");

    let commands: [&[&str]; 15] = [
        &["switchover", "--to", "instance-1"],
        &["settle", "instance-2"],
        &["latency", "instance-1", "5ms"],
        &["heal", "instance-1"],
        &["blackhole", "instance-2"],
        &["heal", "instance-2"],
        &["refuse", "instance-2"],
        &["reset", "instance-2"],
        &["heal", "instance-2"],
        &["freeze", "instance-2"],
        &["thaw", "instance-2"],
        &["restart", "instance-2"],
        &["dns", "my-cluster=instance-2"],
        &["stale-topology", "instance-2"],
        &["stale-topology", "instance-2", "--off"],
    ];
    for command in commands {
        up.ask(command);
    }
    up.ask(&["kill", "instance-2"]);
    let status = up.ask(&["status"]);
    assert_eq!(status["writer"], "instance-1");
    assert_eq!(status["instances"][1]["pid"], Value::Null);
    up.ask(&["start", "instance-2"]);
    up.ask(&["down-all"]);
    up.ask(&["up-all"]);
    assert_eq!(up.ask(&["topology"])["instances"].as_array().unwrap().len(), 2);
    let refused = up.ctl(&["kill", "instance-9"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("instance-9"));

    assert!(up.signal(Signal::INT).success());
    assert!(!up.folder.exists());
    assert_eq!(processes_of(&up.folder), Vec::<String>::new());
}

async fn killing_up_leaves_no_process_and_no_file(engine: Engine) {
    let word = engine.to_string();
    let mut up = Up::start(&format!("killed-{word}"), &["--engine", &word, "--instances", "2"]);
    up.ask(&["freeze", "instance-1"]);
    up.signal(Signal::KILL);
    nothing_is_left(&up.folder).await;
}

#[test]
fn the_control_speaks_plain_http() {
    let script = r#"curl -sf "$AURORA_SIM_CONTROL/status" >/dev/null || exit 1
        curl -sf -d '{"to":"instance-2"}' "$AURORA_SIM_CONTROL/failover" || exit 2
        curl -s -d '{"instance":"instance-7"}' "$AURORA_SIM_CONTROL/kill""#;
    let text = out(&run(&["--instances", "2"], script));
    assert!(text.contains("\"new_writer\":\"instance-2\""), "{text}");
    assert!(text.contains("no instance is named"), "{text}");
}

#[test]
fn doctor_finds_everything_on_a_machine_that_runs_these_tests() {
    for engine in ["postgres", "mysql"] {
        let output = Command::new(PROGRAM).args(["doctor", "--engine", engine]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("a cluster starts and stops"), "{text}");
    }
}

#[test]
fn without_mysql_there_is_no_cluster_and_the_command_that_installs_it_is_named() {
    let nowhere = ["--engine", "mysql", "--mysql", "/nonexistent", "--", "true"];
    let output = Command::new(PROGRAM).arg("run").args(nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("MySQL is missing") && text.contains("aurora-sim install --engine mysql"),
        "{text}"
    );
}

#[test]
fn install_names_the_installation_that_there_is() {
    let output = Command::new(PROGRAM).args(["install", "--engine", "mysql"]).output().unwrap();
    let folder = out(&output);
    assert!(Path::new(folder.trim()).join("usr/sbin/mysqld").is_file(), "{folder}");
}

#[test]
fn a_run_that_cannot_start_says_why_and_leaves_nothing() {
    let output = Command::new(PROGRAM).args(["run", "--instances", "9", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 to 6"));
}
