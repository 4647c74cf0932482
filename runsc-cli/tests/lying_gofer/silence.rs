//! A Gofer that does not answer: who asked waits, the others don't, and the sandbox can be ended. One that never
//! answered at all is not waited for for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gofer_protocol::{Op, Request};
use rustix::process::{Signal, kill_process};

use crate::nonsense::tree;
use crate::stand_in::{Lie, PATIENCE, Sandbox, possible};

fn silent() -> Lie {
    Arc::new(|request: &Request<'_>, answer| {
        if request.kind() == Op::Walk {
            answer.times = 0;
        }
    })
}

#[test]
fn the_others_go_on() {
    if !possible("the_others_go_on") {
        return;
    }
    let folder = tree();
    let mut sandbox = Sandbox::start(folder.path(), "shared", silent());
    sandbox.expect("1 + 1", "2");
    sandbox.lie(true);
    sandbox.ask("t = threading.Thread(target=lambda: os.stat('/v/f'), daemon=True); t.start()");
    sandbox.expect("t.join(0.3)", "None");
    sandbox.expect("t.is_alive()", "True");
    sandbox.expect("open('/dev/shm/x', 'w').write('abc')", "3");
    // Its process group is asked to end, and does, with the thread that waits.
    kill_process(sandbox.runsc(), Signal::TERM).unwrap();
    let (status, errors) = sandbox.wait(Duration::from_secs(20)).expect("a sandbox that ends");
    assert_eq!(status, Some(128 + 15), "{errors}");
}

#[test]
fn who_waits_can_be_killed() {
    if !possible("who_waits_can_be_killed") {
        return;
    }
    let folder = tree();
    let mut sandbox = Sandbox::start(folder.path(), "shared", silent());
    sandbox.expect("1 + 1", "2");
    sandbox.lie(true);
    // More than there are channels.
    sandbox.ask("kids = [os.fork() or (os.stat('/v/f'), os._exit(0)) for _ in range(6)]");
    sandbox.ask("import time; time.sleep(0.3)");
    sandbox.ask("[os.kill(kid, signal.SIGKILL) for kid in kids]");
    sandbox.order("[os.waitpid(kid, 0)[1] for kid in kids]");
    assert_eq!(sandbox.answer(PATIENCE).as_deref(), Some("[9, 9, 9, 9, 9, 9]"));
    assert_eq!(sandbox.end().0, Some(0));
}

#[test]
fn no_greeting() {
    if !possible("no_greeting") {
        return;
    }
    let folder = tree();
    let begun = Instant::now();
    let (mut runsc, gofer, _socket) = Sandbox::stopped(folder.path(), "shared");
    // It waits for half a minute.
    while begun.elapsed() < 3 * PATIENCE && runsc.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = runsc.try_wait().unwrap().map(|status| status.code());
    let (_, _) = (runsc.kill(), runsc.wait());
    let errors = runsc.stderr.take().map(|pipe| std::io::read_to_string(pipe).unwrap()).unwrap_or_default();
    assert_eq!(ended, Some(Some(125)), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("the gofer has not answered the greeting for 30 seconds"), "{errors}");
    // Stopped as it is, it has ended with the command.
    let file = format!("/proc/{}/comm", gofer.as_raw_pid());
    assert!(!std::path::Path::new(&file).exists(), "the gofer is left behind");
}
