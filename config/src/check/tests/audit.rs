//! `audit`.

use insta::assert_snapshot;

use super::with_e;

#[test]
fn a_log_has_sensible_times_sizes_and_places() {
    let recipient = format!("age1{}", "q".repeat(58));
    let sections = [
        "{}".to_owned(),
        "{ dir: audit }".to_owned(),
        format!("{{ dir: audit, recipient: {recipient}, anchor: /mnt/worm/anchor, unwritable: refuse }}"),
        "{ dir: audit, recipient: ssh-ed25519 AAAA }".to_owned(),
        "{ dir: audit, anchor: audit/anchor }".to_owned(),
        "{ dir: audit, retention: 2160h }".to_owned(),
        "{ dir: audit, retention: 2159h }".to_owned(),
        "{ dir: audit, write_timeout: 1ms, checkpoint_every: 0s, segment_age_max: 1s, segment_bytes_max: 1KiB }"
            .to_owned(),
        "{ bodies: true, unwritable: refuse }".to_owned(),
    ];
    let sections: Vec<String> = sections.iter().map(|section| format!("audit: {section}")).collect();
    assert_snapshot!(with_e(&sections.iter().map(String::as_str).collect::<Vec<_>>()), @"
    audit: {}
      fine
    audit: { dir: audit }
      fine
    audit: { dir: audit, recipient: age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq, anchor: /mnt/worm/anchor, unwritable: refuse }
      fine
    audit: { dir: audit, recipient: ssh-ed25519 AAAA }
      problem 2:33 `audit.recipient` is no age recipient
        help: it begins with `age1` and has 62 characters; `weir audit keygen` makes an identity and prints its recipient
    audit: { dir: audit, anchor: audit/anchor }
      problem 2:30 `audit.anchor` lies in `audit.dir`, which is `audit`
        help: choose a file on another disk, or on a mount of another machine: who alters the log must not reach it
    audit: { dir: audit, retention: 2160h }
      fine
    audit: { dir: audit, retention: 2159h }
      problem 2:33 `audit.retention` must be from `90d` to `7320d`, not `2159h`
    audit: { dir: audit, write_timeout: 1ms, checkpoint_every: 0s, segment_age_max: 1s, segment_bytes_max: 1KiB }
      problem 2:37 `audit.write_timeout` must be from `10ms` to `30s`, not `1ms`
      problem 2:60 `audit.checkpoint_every` must be from `1s` to `1h`, not `0ms`
      problem 2:81 `audit.segment_age_max` must be from `1m` to `31d`, not `1s`
      problem 2:104 `audit.segment_bytes_max` must be from `64KiB` to `4GiB`, not `1KiB`
    audit: { bodies: true, unwritable: refuse }
      problem 2:18 `audit.bodies` is about the log in `audit.dir`, which is not stated
        help: add `audit.dir`, the folder for the records
      problem 2:36 `audit.unwritable` is about the log in `audit.dir`, which is not stated
        help: add `audit.dir`, the folder for the records
    ");
}
