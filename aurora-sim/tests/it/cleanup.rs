//! Nothing stays behind.

use std::path::Path;

use aurora_sim::Cluster;

use crate::client::eventually;

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

#[tokio::test]
async fn dropping_a_cluster_ends_everything_also_frozen_servers() {
    let cluster = Cluster::builder().instances(2).start().await.unwrap();
    let folder = cluster.folder().to_owned();
    assert!(!processes_of(&folder).is_empty());
    cluster.freeze("instance-2").await.unwrap();
    drop(cluster);
    assert!(!folder.exists());
    assert_eq!(processes_of(&folder), Vec::<String>::new());
}

#[tokio::test]
async fn a_panic_leaves_nothing_behind() {
    let (send, receive) = std::sync::mpsc::channel();
    let task = tokio::runtime::Handle::current().spawn(async move {
        let cluster = Cluster::builder().instances(1).start().await.unwrap();
        send.send(cluster.folder().to_owned()).unwrap();
        panic!("on purpose");
    });
    assert!(task.await.unwrap_err().is_panic());
    let folder = receive.recv().unwrap();
    assert!(!folder.exists());
    assert_eq!(processes_of(&folder), Vec::<String>::new());
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing_behind() {
    let unique = format!("aurora-sim-given-up-{}", std::process::id());
    let (folder, cache) = (std::env::temp_dir().join(&unique), std::env::temp_dir().join(unique + "-cache"));
    // The first ones make the template, the last ones find it.
    for patience in [50, 300, 2000, 150] {
        let start = Cluster::builder().instances(2).folder(&folder).cache(&cache).start();
        drop(tokio::time::timeout(std::time::Duration::from_millis(patience), start).await);
        assert!(!folder.exists(), "{patience} ms");
        // A copy that was under way has been killed; that takes a moment.
        eventually("no process is left", async || processes_of(&folder).is_empty()).await;
    }
    std::fs::remove_dir_all(&cache).ok();
}
