//! The keeper: a small shell that owns every server process and cleans up after us, whatever happens to us.
//!
//! Two shells run beside our process. The inner one is the first process of a PID namespace of its own and starts
//! the servers; it reads its commands from a pipe whose other end only we hold. When that end closes (because we
//! close it, return, panic, are interrupted or are killed), the inner shell ends, and with the first process of a
//! PID namespace the kernel kills all others, stopped ones included. The outer shell then deletes the folder.
//! Where namespaces are not allowed the outer shell kills the servers one by one instead.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::error::{Attempt, Error, Result};

/// How long a killed server may need to disappear; the kernel needs some milliseconds.
const DEATH_DEADLINE: Duration = Duration::from_secs(10);

/// `$1` is the folder, the other words start the inner shell.
const OUTER: &str = r#"
trap '' HUP INT TERM
folder=$1; shift
"$@"
for pid in $(cat "$folder/pids" 2>/dev/null); do
  case $(readlink "/proc/$pid/cwd") in
    "$folder"/*)
      kill -STOP "$pid"
      segment=$(sed -n '7s/.* //p' "/proc/$pid/cwd/postmaster.pid" 2>/dev/null)
      kill -KILL $(cat "/proc/$pid/task/$pid/children") "$pid"
      [ -z "$segment" ] || ipcrm -m "$segment" ;;
  esac
done 2>/dev/null
# A copy or a new data directory may still be in the making.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  while pid=$(cat "$folder/scratch/busy" 2>/dev/null) && grep -qs '^State:.[^ZX]' "/proc/$pid/status"; do
    sleep 0.05
  done
  rm -rf -- "$folder" 2>/dev/null
  [ -e "$folder" ] || exit
  sleep 0.1
done
"#;

/// How server processes are set apart from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// An own PID and IPC namespace.
    Namespace,
    /// The same inside a user namespace, for an ordinary user.
    UserNamespace,
    /// None: the system does not allow namespaces.
    Bare,
}

impl Isolation {
    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Namespace => &["unshare", "--pid", "--ipc", "--fork", "--kill-child", "--", "sh"],
            Self::UserNamespace => &[
                "unshare",
                "--user",
                "--map-current-user",
                "--pid",
                "--ipc",
                "--fork",
                "--kill-child",
                "--",
                "sh",
            ],
            Self::Bare => &["sh"],
        }
    }
}

/// Owner of all processes of one cluster. Closing it ends them and deletes the folder.
#[derive(Debug)]
pub(crate) struct Keeper {
    shell: Mutex<Option<Shell>>,
    isolation: Isolation,
    /// The inner shell, as our own PID namespace numbers it.
    inner: u32,
}

#[derive(Debug)]
struct Shell {
    outer: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// Starts the shells; `folder` is deleted when they end.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let ways: &[Isolation] = if rustix::process::geteuid().is_root() {
            &[Isolation::Namespace, Isolation::Bare]
        } else {
            &[Isolation::UserNamespace, Isolation::Bare]
        };
        let mut last = None;
        for &isolation in ways {
            // A way that fails deletes the folder.
            fs::create_dir_all(folder).attempt(|| format!("create {}", folder.display()))?;
            match Self::start_as(isolation, folder) {
                Ok(keeper) => return Ok(keeper),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("there is always a way to try"))
    }

    fn start_as(isolation: Isolation, folder: &Path) -> Result<Self> {
        let mut outer = Command::new("sh")
            .args(["-c", OUTER, "aurora-sim-keeper"])
            .arg(folder)
            .args(isolation.command())
            .current_dir("/")
            .process_group(0) // the terminal's Ctrl-C is for us, not for the keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .attempt(|| "start sh".to_owned())?;
        let commands = outer.stdin.take().expect("standard input is a pipe");
        let answers = BufReader::new(outer.stdout.take().expect("standard output is a pipe"));
        let outer_pid = outer.id();
        let mut shell = Shell { outer, commands, answers };
        if let Err(error) = shell.ask("echo ready") {
            shell.close();
            return Err(error);
        }
        let mut inner = only_child(outer_pid);
        if isolation != Isolation::Bare {
            inner = inner.and_then(only_child);
        }
        let Some(inner) = inner else {
            shell.close();
            return Err(Error::missing("/proc/PID/task/PID/children", "a kernel with CONFIG_PROC_CHILDREN"));
        };
        Ok(Self { shell: Mutex::new(Some(shell)), isolation, inner })
    }

    /// How the servers are set apart.
    pub(crate) fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// Starts a server in the background, its output appended to `log`.
    pub(crate) fn spawn(&self, folder: &Path, words: &[String], log: &Path) -> Result<Server> {
        let command: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let pids = if self.isolation == Isolation::Bare {
            format!("echo $! >>{}; ", quoted(&folder.join("pids").display().to_string()))
        } else {
            String::new()
        };
        let log = quoted(&log.display().to_string());
        let answer = self.ask(&format!("{} >>{log} 2>&1 </dev/null & {pids}echo $!", command.join(" ")))?;
        let inner_pid: u32 = answer
            .parse()
            .map_err(|_| Error::invalid(format!("the keeper answered {answer:?}, not a process id")))?;
        let pid = children(self.inner).into_iter().find(|&pid| innermost_pid(pid) == Some(inner_pid));
        let pid = pid.ok_or_else(|| Error::invalid("the server ended at once"))?;
        Ok(Server { pid, inner_pid })
    }

    /// Forgets a dead server. Until then it is a zombie, which the next server on its data would take for alive.
    fn reap(&self, server: Server) -> Result<()> {
        self.ask(&format!("wait {} 2>/dev/null; echo reaped", server.inner_pid)).map(drop)
    }

    /// Kills a server and every process it has started, and waits until they are gone.
    pub(crate) async fn kill(&self, server: Server) -> Result<()> {
        // Stopped first, so that it cannot start another process while we look, and that no worker answers when another one has
        // been killed already: a host dies as a whole.
        let _ = signal(server.pid, Signal::STOP);
        let workers = children(server.pid);
        for kill in [Signal::STOP, Signal::KILL] {
            for &pid in workers.iter().chain([&server.pid]) {
                let _ = signal(pid, kill);
            }
        }
        self.bury(server, &workers).await
    }

    /// Waits until a server that was told to stop is gone.
    pub(crate) async fn await_end(&self, server: Server, deadline: Duration) -> Result<()> {
        until_gone(&[server.pid], deadline).await?;
        self.reap(server)
    }

    async fn bury(&self, server: Server, workers: &[u32]) -> Result<()> {
        until_gone(workers, DEATH_DEADLINE).await?;
        until_gone(&[server.pid], DEATH_DEADLINE).await?;
        self.reap(server)
    }

    fn ask(&self, command: &str) -> Result<String> {
        self.shell.lock().as_mut().ok_or_else(Error::stopped)?.ask(command)
    }

    /// Ends every process and deletes the folder. Blocks for some tens of milliseconds.
    pub(crate) fn close(&self) {
        if let Some(shell) = self.shell.lock().take() {
            shell.close();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shell {
    fn ask(&mut self, command: &str) -> Result<String> {
        let mut answer = String::new();
        writeln!(self.commands, "{command}").attempt(|| "write to the keeper".to_owned())?;
        self.answers.read_line(&mut answer).attempt(|| "read from the keeper".to_owned())?;
        if answer.is_empty() {
            return Err(Error::missing("the keeper of the server processes", "it ended unexpectedly"));
        }
        Ok(answer.trim_end().to_owned())
    }

    fn close(self) {
        let Self { mut outer, commands, answers } = self;
        drop(commands);
        drop(answers);
        let _ = outer.wait();
    }
}

/// Threads stop within microseconds; one in the middle of a system call takes as long as that.
const FREEZE_DEADLINE: Duration = Duration::from_millis(500);

/// One server process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server {
    /// As our own PID namespace numbers it.
    pub(crate) pid: u32,
    /// As the keeper's shell numbers it.
    inner_pid: u32,
}

impl Server {
    /// Whether the process runs or is stopped; a zombie is dead.
    pub(crate) fn is_alive(self) -> bool {
        is_alive(self.pid)
    }

    /// Stops the process and all that it has started, as an overloaded or swapping host would.
    pub(crate) fn freeze(self) -> Result<()> {
        signal(self.pid, Signal::STOP)?;
        for pid in children(self.pid) {
            let _ = signal(pid, Signal::STOP);
        }
        Ok(())
    }

    /// Waits until every thread of a server that was told to freeze stands still: one that runs stops a moment later.
    ///
    /// Where the system does not show that, the wait ends by itself.
    pub(crate) async fn await_frozen(self) {
        let end = Instant::now() + FREEZE_DEADLINE;
        let everybody: Vec<u32> = children(self.pid).into_iter().chain([self.pid]).collect();
        while Instant::now() < end && !everybody.iter().all(|&pid| is_frozen(pid)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets a frozen server go on.
    pub(crate) fn thaw(self) -> Result<()> {
        for pid in children(self.pid) {
            let _ = signal(pid, Signal::CONT);
        }
        signal(self.pid, Signal::CONT)
    }

    /// Asks for an orderly shutdown, by the signal that means this to the server.
    pub(crate) fn stop(self, how: Signal) -> Result<()> {
        signal(self.pid, how)
    }

    /// Makes the server read its settings again.
    pub(crate) fn reload(self) -> Result<()> {
        signal(self.pid, Signal::HUP)
    }
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("the system's process ids are positive");
    kill_process(raw, signal).map_err(std::io::Error::from).attempt(|| format!("signal process {pid}"))
}

async fn until_gone(pids: &[u32], deadline: Duration) -> Result<()> {
    let end = Instant::now() + deadline;
    while pids.iter().any(|&pid| is_alive(pid)) {
        if Instant::now() > end {
            return Err(Error::timeout("the end of a server process", deadline));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The state follows the name, which is in parentheses and may contain anything.
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Whether all threads of a process are stopped.
fn is_frozen(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    let is_stopped = |thread: &fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // A thread that is gone, or that ends, does no harm.
        stat.rsplit(')')
            .next()
            .is_none_or(|rest| rest.trim_start().starts_with(['T', 't', 'Z', 'X']) || rest.is_empty())
    };
    threads.flatten().all(|thread| is_stopped(&thread))
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn only_child(pid: u32) -> Option<u32> {
    children(pid).first().copied()
}

/// The process id inside the innermost PID namespace.
fn innermost_pid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("NSpid:"))?;
    line.split_whitespace().last()?.parse().ok()
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("aurora-sim-keeper-{name}-{}", std::process::id()))
    }

    fn sleeper(keeper: &Keeper, folder: &Path) -> Server {
        let script = "cd \"$0/data\"; sleep 300 & sleep 300 & wait";
        let words = ["sh", "-c", script, &folder.display().to_string()].map(str::to_owned);
        fs::create_dir_all(folder.join("data")).unwrap();
        keeper.spawn(folder, &words, &folder.join("log")).unwrap()
    }

    fn wait_for_workers(server: Server) -> Vec<u32> {
        for _ in 0..1000 {
            let workers = children(server.pid);
            if workers.len() == 2 {
                return workers;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the workers did not start");
    }

    /// The ways that this system allows.
    fn ways() -> Vec<Isolation> {
        let root = rustix::process::geteuid().is_root();
        vec![if root { Isolation::Namespace } else { Isolation::UserNamespace }, Isolation::Bare]
    }

    #[test]
    fn closing_ends_frozen_processes_and_deletes_the_folder() {
        for isolation in ways() {
            let folder = folder("close");
            fs::create_dir(&folder).unwrap();
            let keeper = Keeper::start_as(isolation, &folder).unwrap();
            let server = sleeper(&keeper, &folder);
            let workers = wait_for_workers(server);
            server.freeze().unwrap();
            keeper.close();
            assert!(!folder.exists(), "{isolation:?}");
            let everybody: Vec<u32> = workers.into_iter().chain([server.pid]).collect();
            // Without a namespace the kernel takes a moment after the keeper has ended.
            let gone = || !everybody.iter().any(|&pid| is_alive(pid));
            assert!((0..1000).any(|_| gone() || pause()), "{isolation:?}");
        }
    }

    fn pause() -> bool {
        std::thread::sleep(Duration::from_millis(2));
        false
    }

    #[tokio::test]
    async fn killing_takes_the_workers_along_and_leaves_no_zombie() {
        for isolation in ways() {
            let folder = folder("kill");
            fs::create_dir(&folder).unwrap();
            let keeper = Keeper::start_as(isolation, &folder).unwrap();
            let server = sleeper(&keeper, &folder);
            let workers = wait_for_workers(server);
            server.freeze().unwrap();
            keeper.kill(server).await.unwrap();
            assert!(!workers.iter().any(|&pid| is_alive(pid)), "{isolation:?}");
            assert!(!Path::new(&format!("/proc/{}", server.pid)).exists(), "{isolation:?}");
        }
    }

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
