//! The word of a busy mark under a model checker: every order in which a call, the monitor of a dead host, and the
//! tracker of roles can meet. What is checked is the source of the crate itself, on the checker's atomics.

#[path = "../src/registry/word.rs"]
#[expect(dead_code, reason = "the crate uses more of it than its model")]
mod word;

/// What the word is made of here.
mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

use loom::model;
use loom::sync::Arc;
use loom::thread;

use self::word::{AtomicWord, Stamp};

fn at(millis: u128) -> Stamp {
    Stamp::from_millis(millis)
}

fn busy() -> Arc<AtomicWord> {
    let word = Arc::new(AtomicWord::new());
    assert!(word.begin(at(1)));
    word
}

/// Specification 2.17, test 4: no abort of a later call.
#[test]
fn an_abort_hits_the_call_it_was_meant_for_or_nothing() {
    model(|| {
        let word = busy();
        let judged = word.load();
        let monitor = thread::spawn({
            let word = Arc::clone(&word);
            move || word.abort(judged)
        });
        word.end(true);
        let is_counted = word.begin(at(2));
        let was_aborted = monitor.join().unwrap();
        if was_aborted {
            // It came before the answer was counted: the connection is given up, and takes no further call.
            assert!(!is_counted && !word.load().is_busy());
        } else {
            assert!(is_counted && word.load().is_busy());
            assert_eq!(word.load().began(), at(2));
        }
    });
}

/// The same on a pipelined connection: an answer and a new call leave as many in flight as there were.
#[test]
fn an_abort_misses_a_connection_that_was_answered_meanwhile() {
    model(|| {
        let word = busy();
        assert!(word.begin(at(2)));
        let judged = word.load();
        let monitor = thread::spawn({
            let word = Arc::clone(&word);
            move || word.abort(judged)
        });
        word.end(true);
        let is_counted = word.begin(at(3));
        assert_ne!(monitor.join().unwrap(), is_counted);
        assert!(word.load().is_busy(), "the oldest call is in flight");
    });
}

/// Two callers of one pipelined connection.
#[test]
fn calls_of_several_tasks_are_all_counted() {
    model(|| {
        let word = busy();
        let other = thread::spawn({
            let word = Arc::clone(&word);
            move || {
                assert!(word.begin(at(2)));
                word.end(false);
            }
        });
        assert!(word.begin(at(3)));
        word.lose();
        other.join().unwrap();
        let now = word.load();
        assert!(now.is_busy() && now.lost_a_call());
        assert_eq!((now.began(), now.number()), (at(1), 3), "the oldest one counts");
        word.end(true);
        assert!(!word.load().is_busy());
    });
}

/// Specification 2.17, test 4: no lost abort.
#[test]
fn an_abort_that_is_tried_again_ends_a_call_that_hangs() {
    model(|| {
        let word = busy();
        let others = thread::spawn({
            let word = Arc::clone(&word);
            move || {
                word.suspect();
                word.retire();
            }
        });
        // A change by others makes it miss; the next look of the monitor has the newer word.
        let mut looks = 0;
        while !word.abort(word.load()) {
            looks += 1;
            assert!(looks <= 2, "each of the others changes the word once");
        }
        others.join().unwrap();
        let now = word.load();
        assert!(now.is_aborted() && now.is_retired() && now.is_suspect() && now.is_busy());
        assert!(!word.begin(at(2)), "nothing begins on it any more");
    });
}

/// Whoever is later ends a retired connection; it never happens that each leaves it to the other.
#[test]
fn a_retired_connection_is_ended_by_the_tracker_or_by_its_last_call() {
    model(|| {
        let word = busy();
        let tracker = thread::spawn({
            let word = Arc::clone(&word);
            move || !word.retire().is_busy()
        });
        let last = word.end(true);
        let ends_itself = last.is_retired() && !last.is_busy();
        let tracker_ends_it = tracker.join().unwrap();
        assert_ne!(ends_itself, tracker_ends_it);
    });
}

/// An answer takes back the suspicion that was there before it, and loses nothing else.
#[test]
fn an_answer_clears_a_suspicion() {
    model(|| {
        let word = busy();
        word.suspect();
        let other = thread::spawn({
            let word = Arc::clone(&word);
            move || word.retire()
        });
        word.end(true);
        other.join().unwrap();
        let now = word.load();
        assert!(!now.is_suspect() && now.is_retired() && !now.is_busy());
    });
}
