//! `weir keys`.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{
    Folder,
    binary::{Finished, run},
};

async fn create(file: &str, subject: &str, more: &[&str]) -> Finished {
    run(&[&["keys", "create", "--file", file, "--subject", subject, "--role", "support_agent"], more].concat()).await
}

#[tokio::test]
async fn a_key_is_shown_once_and_only_its_hash_is_kept() {
    let folder = Folder::new();
    let file = folder.path("keys.yaml");
    let created =
        create(&file, "alice", &["--role", "second", "--tenant", "acme", "--expires", "90d"]).await.with_code(0);
    let key = created.stdout.trim_end();
    let parts: Vec<&str> = key.splitn(3, '_').collect();
    let [name, id, secret] = parts[..] else { panic!("{key}") };
    assert_eq!((name, id.len(), secret.len()), ("weir", 8, 43), "{key}");
    assert_eq!(fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).expect("the file");
    assert!(!text.contains(secret) && !created.stderr.contains(secret));

    let listed = run(&["keys", "list", "--file", &file, "--json"]).await.with_code(0).json();
    assert_eq!(
        (&listed[0]["id"], &listed[0]["subject"], &listed[0]["tenant"], &listed[0]["roles"][1]),
        (&id.into(), &"alice".into(), &"acme".into(), &"second".into())
    );
    assert!(listed[0]["expires"].as_str().is_some_and(|expires| expires.ends_with('Z')), "{listed}");
    assert!(listed[0].get("hash").is_none());
}

#[tokio::test]
async fn keys_are_added_beside_others_and_revoked_by_their_id() {
    let folder = Folder::new();
    let file = folder.path("keys.yaml");
    let ids = |listed: &serde_json::Value| {
        listed.as_array().expect("a list").iter().map(|key| key["subject"].clone()).collect::<Vec<_>>()
    };
    let first = create(&file, "first \"quoted\": #1", &["--json"]).await.with_code(0).json();
    create(&file, "second", &[]).await.with_code(0);
    let listed = run(&["keys", "list", "--file", &file, "--json"]).await.with_code(0).json();
    assert_eq!(ids(&listed), ["first \"quoted\": #1", "second"]);

    let id = first["id"].as_str().expect("an id");
    run(&["keys", "revoke", "--file", &file, id]).await.with_code(0);
    let listed = run(&["keys", "list", "--file", &file, "--json"]).await.with_code(0).json();
    let revoked = listed[0]["revoked"].as_str().expect("the record of it stays");
    assert!(listed[1]["revoked"].is_null(), "{listed}");
    run(&["keys", "revoke", "--file", &file, id]).await.with_code(0);
    let again = run(&["keys", "list", "--file", &file, "--json"]).await.with_code(0).json();
    assert_eq!(again[0]["revoked"], revoked, "a second time changes nothing");
    let unknown = run(&["keys", "revoke", "--file", &file, "nosuchid"]).await.with_code(1);
    assert!(unknown.stderr.contains("weir keys list"), "{unknown:#?}");
    let table = run(&["keys", "list", "--file", &file]).await.with_code(0);
    assert!(table.stdout.contains(&format!("revoked {revoked}")), "{table:#?}");
    assert_eq!(fs::read_dir(folder.path("")).expect("the folder").count(), 1, "something was left behind");
}

#[tokio::test]
async fn a_key_file_that_others_can_read_or_that_is_being_changed_is_left_alone() {
    let folder = Folder::new();
    let file = folder.path("keys.yaml");
    create(&file, "alice", &[]).await.with_code(0);
    let before = fs::read_to_string(&file).expect("the file");

    fs::write(folder.path(".keys.yaml.new"), "").expect("a file");
    let refused = create(&file, "bob", &[]).await.with_code(1);
    assert!(refused.stderr.contains(".keys.yaml.new"), "{refused:#?}");
    fs::remove_file(folder.path(".keys.yaml.new")).expect("the refused one left it");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let refused = create(&file, "bob", &[]).await.with_code(1);
    assert!(refused.stderr.contains("chmod 600"), "{refused:#?}");
    assert_eq!(fs::read_to_string(&file).expect("the file"), before);
}

#[tokio::test]
async fn a_key_that_is_replaced_works_on_for_the_overlap_and_no_longer() {
    let folder = Folder::new();
    let file = folder.path("keys.yaml");
    let old = create(&file, "alice", &["--tenant", "acme", "--json"]).await.with_code(0).json();
    let id = old["id"].as_str().expect("an id");
    let new = run(&["keys", "rotate", "--file", &file, id, "--overlap", "2h", "--expires", "90d", "--json"]).await;
    let new = new.with_code(0).json();
    assert_eq!(new["replaces"]["id"], id);
    let listed = run(&["keys", "list", "--file", &file, "--json"]).await.with_code(0).json();
    for member in ["subject", "tenant", "roles"] {
        assert_eq!(listed[0][member], listed[1][member]);
    }
    let hours = |expires: &serde_json::Value| {
        let expires: jiff::Timestamp = expires.as_str().expect("it ends").parse().expect("a time");
        (expires.as_second() - jiff::Timestamp::now().as_second()) as f64 / 3600.0
    };
    assert!((1.9..=2.001).contains(&hours(&listed[0]["expires"])), "{listed}");
    assert!((2159.0..=2160.001).contains(&hours(&listed[1]["expires"])), "{listed}");
    // A longer overlap does not prolong what ends earlier.
    run(&["keys", "rotate", "--file", &file, id, "--overlap", "48h"]).await.with_code(0);
    let again = run(&["keys", "list", "--file", &file, "--json"]).await.with_code(0).json();
    assert_eq!(again[0]["expires"], listed[0]["expires"]);

    run(&["keys", "revoke", "--file", &file, id]).await.with_code(0);
    let refused = run(&["keys", "rotate", "--file", &file, id]).await.with_code(1);
    assert!(refused.stderr.contains("was revoked"), "{refused:#?}");
}
