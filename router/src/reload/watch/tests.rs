use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use tokio::time::timeout;

use super::Watch;

const PATIENCE: Duration = Duration::from_secs(10);

async fn is_seen(watch: &Watch) -> bool {
    timeout(PATIENCE, watch.changed()).await.is_ok()
}

async fn watching(files: &[&Path]) -> Watch {
    let mut watch = Watch::new();
    watch.look_at(&files.iter().map(|file| file.to_path_buf()).collect::<Vec<_>>()).await;
    watch
}

#[tokio::test]
async fn a_file_that_is_written_renamed_over_removed_or_made_again_has_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("weir.yaml");
    fs::write(&file, "one").expect("written");
    let mut watch = watching(&[&file]).await;
    for step in ["write", "rename", "remove", "create"] {
        match step {
            "write" => fs::write(&file, "two").expect("written"),
            "rename" => {
                fs::write(folder.path().join("new"), "three").expect("written");
                fs::rename(folder.path().join("new"), &file).expect("renamed");
            }
            "remove" => fs::remove_file(&file).expect("removed"),
            _ => fs::write(&file, "four").expect("written"),
        }
        assert!(is_seen(&watch).await, "{step}");
        watch.look_at(std::slice::from_ref(&file)).await;
    }
}

#[tokio::test]
async fn a_turned_link_is_a_change_as_kubernetes_makes_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for (version, text) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(at(version)).expect("made");
        fs::write(at(version).join("weir.yaml"), text).expect("written");
    }
    symlink("v1", at("..data")).expect("linked");
    symlink("..data/weir.yaml", at("weir.yaml")).expect("linked");
    let watch = watching(&[&at("weir.yaml")]).await;
    symlink("v2", at("..new")).expect("linked");
    fs::rename(at("..new"), at("..data")).expect("renamed");
    assert!(is_seen(&watch).await);
}

#[tokio::test]
async fn what_leaves_the_content_as_it_is_and_other_files_are_no_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("weir.yaml");
    fs::write(&file, "one").expect("written");
    let watch = watching(&[&file]).await;
    fs::write(&file, "one").expect("written");
    fs::write(folder.path().join("other"), "two").expect("written");
    // The events are there before this one, so they have been looked into when it is told.
    assert!(timeout(Duration::from_millis(800), watch.changed()).await.is_err());
    fs::write(&file, "two").expect("written");
    assert!(is_seen(&watch).await);
}

#[tokio::test]
async fn without_events_the_files_are_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("weir.yaml");
    fs::write(&file, "one").expect("written");
    let mut watch = watching(&[&file]).await;
    watch.watcher = None;
    fs::write(&file, "two").expect("written");
    assert!(is_seen(&watch).await);
}
