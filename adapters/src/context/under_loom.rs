//! The gate in every order in which the threads of caller and adapter may meet.

#[path = "gate.rs"]
#[allow(clippy::duplicate_mod, unreachable_pub, reason = "it is compiled a second time, with other atomics")]
mod gate;

use loom::sync::{Arc, atomic};

use gate::SendGate;

#[test]
fn a_write_is_either_sent_or_withdrawn_never_both_whoever_comes_first() {
    loom::model(|| {
        let gate = Arc::new(SendGate::default());
        let callers = [gate.clone(), gate.clone()].map(|gate| loom::thread::spawn(move || gate.withdraw()));
        let sent = gate.pass();
        let [first, second] = callers.map(|caller| caller.join().expect("it does not panic"));
        assert!(sent != first && first == second, "{sent} {first} {second}");
        assert_eq!(gate.passed(), sent);
        // A further attempt of the same call, or a further word of its caller, changes nothing.
        assert_eq!((gate.pass(), gate.withdraw()), (sent, !sent));
    });
}
