//! A Gofer that dies: the guest gets EIO, the Sentry stays up, and runsc says what happened.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::guest::{Folder, Guest, has_python};

#[test]
fn the_program_outlives_its_gofer() {
    if !has_python("the_program_outlives_its_gofer") {
        return;
    }
    let folder = Folder::new("lost");
    fs::write(folder.0.join("f"), "content").unwrap();
    let mut guest = Guest::start(&[format!("--volume={}:/v:shared", folder.0.display())]);
    guest.expect("open('/v/f').read()", "'content'");
    guest.ask("f = open('/v/f')");
    let processes = guest.processes();
    let gofer = processes.iter().find(|(_, line)| line.contains("gofer")).expect("a gofer").0;
    kill(Pid::from_raw(gofer as i32), Signal::SIGKILL).unwrap();
    while fs::read_to_string(format!("/proc/{gofer}/stat")).is_ok_and(|stat| !stat.contains(") Z")) {
        std::thread::sleep(Duration::from_millis(10));
    }
    for lost in
        ["os.stat('/v/f')", "open('/v/f')", "os.listdir('/v')", "os.mkdir('/v/d')", "os.unlink('/v/f')"]
    {
        guest.expect(lost, "EIO");
    }
    // What is open needs no Gofer, and what is not the host's neither.
    guest.expect("f.read()", "'content'");
    guest.expect("open('/dev/shm/x', 'w').write('abc')", "3");
    guest.expect("sum(range(1000))", "499500");
    let (status, errors) = guest.end();
    assert_eq!(status, Some(0), "{errors}");
    assert!(errors.contains("gofer: killed by signal 9"), "{errors}");
}
