//! A sandbox is all there or not there at all: whichever process dies, the others go with it.

use std::io::Read;

use crate::{SelfTest, as_each_user, assert_goes, kill};

#[test]
fn killing_the_command_ends_sentry_and_gofer() {
    as_each_user(|uid| {
        let test = SelfTest::start(uid);
        kill(test.command.id() as i32);
        assert_goes("sentry", test.sentry);
        assert_goes("gofer", test.gofer);
    });
}

#[test]
fn killing_the_sentry_ends_the_gofer_and_is_told() {
    as_each_user(|uid| {
        let mut test = SelfTest::start(uid);
        // Waiting would close it, and end the command by itself.
        let _stdin = test.command.stdin.take();
        kill(test.sentry);
        assert_eq!(test.command.wait().unwrap().code(), Some(125));
        assert_goes("gofer", test.gofer);
        let mut message = String::new();
        test.command.stderr.as_mut().unwrap().read_to_string(&mut message).unwrap();
        assert!(message.starts_with("runsc: self-test: sentry: killed by signal 9; "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    });
}

#[test]
fn killing_the_gofer_ends_the_sentry_and_is_told() {
    as_each_user(|uid| {
        let mut test = SelfTest::start(uid);
        // Waiting would close it, and end the command by itself.
        let _stdin = test.command.stdin.take();
        kill(test.gofer);
        assert_eq!(test.command.wait().unwrap().code(), Some(125));
        assert_goes("sentry", test.sentry);
        let mut message = String::new();
        test.command.stderr.as_mut().unwrap().read_to_string(&mut message).unwrap();
        assert!(message.starts_with("runsc: self-test: gofer: killed by signal 9; "), "{message}");
    });
}

#[test]
fn the_end_of_the_command_ends_all() {
    as_each_user(|uid| {
        let mut test = SelfTest::start(uid);
        drop(test.command.stdin.take());
        assert!(test.command.wait().unwrap().success());
        assert_goes("sentry", test.sentry);
        assert_goes("gofer", test.gofer);
    });
}
