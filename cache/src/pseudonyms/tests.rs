use bytes::Bytes;

use super::{NewName, OWNED_MAX, Pseudonyms};
use crate::Sealer;

fn names() -> Pseudonyms {
    Pseudonyms::new(&[7; 32], Sealer::new(&[8; 32], &[], 1000), None)
}

async fn shown(names: &Pseudonyms, owner: &[u8], value: &str, name: &str) -> String {
    let new = NewName { value: Bytes::copy_from_slice(value.as_bytes()), name: name.to_owned() };
    let shown = names.show(owner, &[new]).await.expect("there is no Redis that could be gone");
    shown.into_iter().next().flatten().expect("it is not too large")
}

async fn found(names: &Pseudonyms, owner: &[u8], name: &str) -> Option<Bytes> {
    names.find(owner, &[name]).await.expect("there is no Redis that could be gone").pop().flatten()
}

#[tokio::test]
async fn a_value_keeps_its_name_and_only_its_owner_gets_it_back() {
    let names = names();
    assert_eq!(shown(&names, b"ann", "4711", "cust_1").await, "cust_1");
    assert_eq!(shown(&names, b"ann", "4711", "cust_2").await, "cust_1");
    assert_eq!(shown(&names, b"bob", "4711", "cust_3").await, "cust_3");
    assert_eq!(found(&names, b"ann", "cust_1").await.as_deref(), Some(&b"4711"[..]));
    for (owner, name) in [(&b"bob"[..], "cust_1"), (b"ann", "cust_2"), (b"ann", "cust_3"), (b"", "cust_1")] {
        assert_eq!(found(&names, owner, name).await, None, "{name}");
    }
}

#[tokio::test]
async fn what_was_shown_longest_ago_is_forgotten_first() {
    let names = names();
    for number in 0..OWNED_MAX {
        shown(&names, b"ann", &format!("value {number}"), &format!("name {number}")).await;
    }
    shown(&names, b"ann", "value 0", "another").await;
    shown(&names, b"ann", "one more", "one more").await;
    assert!(found(&names, b"ann", "name 0").await.is_some(), "it was shown again");
    assert!(found(&names, b"ann", "name 1").await.is_none());
    assert!(found(&names, b"ann", "name 2").await.is_some());
    assert!(found(&names, b"ann", "one more").await.is_some());
}
