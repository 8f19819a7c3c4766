use std::time::Duration;

use tokio::time::advance;

use super::{Tag, View};

const OLD: [u8; 16] = [1; 16];
const NEW: [u8; 16] = [2; 16];

fn tag() -> Tag {
    Tag::new("ticket:1", false)
}

/// What may be relied on.
fn known(view: &View) -> Option<[u8; 16]> {
    view.trusted_epoch().and_then(|epoch| view.read_in(epoch, tag()))
}

fn learn(view: &View, generation: [u8; 16]) {
    view.learn(&view.moment(&[tag()]), &[tag()], &[Some(generation)]);
}

fn trusted() -> View {
    let view = View::new(64);
    view.beat(view.now_ms());
    view
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_known_while_heartbeats_come_back() {
    let view = View::new(64);
    learn(&view, OLD);
    assert_eq!(known(&view), None, "no heartbeat came back yet");
    view.beat(view.now_ms());
    assert_eq!(known(&view), None, "read before messages were known to come through");
    learn(&view, OLD);
    assert_eq!(known(&view), Some(OLD));

    advance(Duration::from_millis(700)).await;
    let sent_ms = view.now_ms();
    advance(Duration::from_millis(299)).await;
    assert_eq!(known(&view), Some(OLD));
    view.beat(sent_ms);
    advance(Duration::from_millis(700)).await;
    assert_eq!(known(&view), Some(OLD), "a heartbeat sent 999 ms ago came back");
    advance(Duration::from_millis(1)).await;
    assert_eq!(known(&view), None);
    view.beat(view.now_ms());
    assert_eq!(known(&view), None, "it may have moved unheard");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_was_late_is_trusted_for_what_is_left() {
    let view = View::new(64);
    let sent_ms = view.now_ms();
    advance(Duration::from_millis(900)).await;
    view.beat(sent_ms);
    learn(&view, OLD);
    assert_eq!(known(&view), Some(OLD));
    advance(Duration::from_millis(100)).await;
    assert_eq!(known(&view), None);
}

#[tokio::test(start_paused = true)]
async fn a_raise_that_is_heard_while_a_tag_is_read_wins_whatever_comes_first() {
    for raised_here in [false, true] {
        let view = trusted();
        learn(&view, OLD);
        let moment = view.moment(&[tag()]);
        if raised_here {
            view.raised(&[tag()], NEW);
        } else {
            view.heard(&[tag().id], NEW);
        }
        view.learn(&moment, &[tag()], &[Some(OLD)]);
        assert_eq!(known(&view), None, "it is read again before it is relied on");
        assert_eq!(view.last(tag()), Some(NEW));
        learn(&view, NEW);
        assert_eq!(known(&view), Some(NEW));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_was_not_known_is_not_learned_from_before_its_raise_either() {
    let view = trusted();
    let moment = view.moment(&[tag()]);
    view.heard(&[tag().id], NEW);
    view.learn(&moment, &[tag()], &[Some(OLD)]);
    assert_eq!((known(&view), view.last(tag())), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_gap_leaves_nothing_to_rely_on() {
    let view = trusted();
    learn(&view, OLD);
    let moment = view.moment(&[tag()]);
    view.gap();
    assert_eq!(known(&view), None);
    view.beat(view.now_ms());
    assert_eq!(known(&view), None);
    view.learn(&moment, &[tag()], &[Some(OLD)]);
    assert_eq!(known(&view), None, "asked for before the gap");
    assert_eq!(view.last(tag()), Some(OLD));
}

#[tokio::test(start_paused = true)]
async fn a_raise_of_this_process_is_not_forgotten_for_an_older_one_heard_late() {
    let view = trusted();
    view.raised(&[tag()], NEW);
    view.heard(&[tag().id], OLD);
    assert_eq!(view.last(tag()), Some(NEW));
    view.heard(&[tag().id], NEW);
    view.heard(&[tag().id], [3; 16]);
    assert_eq!(view.last(tag()), Some([3; 16]));
}
