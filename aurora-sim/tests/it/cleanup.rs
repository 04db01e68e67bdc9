//! Nothing stays behind.

use std::path::Path;

use aurora_sim::Engine;

use crate::client::{builder, eventually, for_each_engine};

for_each_engine! {
    dropping_a_cluster_ends_everything_also_frozen_servers,
    a_panic_leaves_nothing_behind,
    a_start_that_is_given_up_leaves_nothing_behind,
}

/// Processes whose command line mentions a folder.
pub(crate) fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(command) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&folder) {
            found.push(format!("{}: {command}", entry.path().display()));
        }
    }
    found
}

async fn dropping_a_cluster_ends_everything_also_frozen_servers(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    let folder = cluster.folder().to_owned();
    assert!(!processes_of(&folder).is_empty());
    cluster.freeze("instance-2").await.unwrap();
    drop(cluster);
    assert!(!folder.exists());
    assert_eq!(processes_of(&folder), Vec::<String>::new());
}

async fn a_panic_leaves_nothing_behind(engine: Engine) {
    let (send, receive) = std::sync::mpsc::channel();
    let task = tokio::runtime::Handle::current().spawn(async move {
        let cluster = builder(engine).instances(1).start().await.unwrap();
        send.send(cluster.folder().to_owned()).unwrap();
        panic!("on purpose");
    });
    assert!(task.await.unwrap_err().is_panic());
    let folder = receive.recv().unwrap();
    assert!(!folder.exists());
    assert_eq!(processes_of(&folder), Vec::<String>::new());
}

async fn a_start_that_is_given_up_leaves_nothing_behind(engine: Engine) {
    let unique = format!("aurora-sim-given-up-{engine}-{}", std::process::id());
    let (folder, cache) = (std::env::temp_dir().join(&unique), std::env::temp_dir().join(unique + "-cache"));
    // The first ones make the template, the last ones find it.
    let whole = if engine == Engine::MySql { 15_000 } else { 2000 };
    for patience in [50, 300, whole, 150] {
        let start = builder(engine).instances(2).folder(&folder).cache(&cache).start();
        drop(tokio::time::timeout(std::time::Duration::from_millis(patience), start).await);
        // A copy that was under way has been killed, a new data directory comes to its end; that takes a moment.
        eventually("nothing is left", async || !folder.exists() && processes_of(&folder).is_empty()).await;
    }
    std::fs::remove_dir_all(&cache).ok();
}
