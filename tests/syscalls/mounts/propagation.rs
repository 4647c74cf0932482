//! How mounts spread: peers, slaves, unbindable ones.

use super::{bind, info, is_mounted, own_mounts, spread, the_info, tmpfs};
use crate::kit::prelude::*;

fn field(name: &str, key: &str) -> Option<String> {
    the_info(name).fields.iter().find_map(|f| f.strip_prefix(key).map(str::to_owned))
}

/// `m`, shared, and `n`, a peer of it.
fn peers() {
    tmpfs(c"m");
    spread(c"m", MS_SHARED);
    bind(c"m", c"n");
    mkdir(c"m/d");
}

case!(changes_of_kind: mount; root; disk);
fn changes_of_kind() {
    own_mounts();
    tmpfs(c"m");
    eq(the_info("m").fields, Vec::<String>::new());
    spread(c"m", MS_SHARED);
    let group = field("m", "shared:");
    check(group.is_some(), "shared");
    // Once more changes nothing.
    spread(c"m", MS_SHARED);
    eq(field("m", "shared:"), group);
    spread(c"m", MS_UNBINDABLE);
    eq(the_info("m").fields, ["unbindable".to_owned()]);
    spread(c"m", MS_SHARED);
    check(field("m", "shared:").is_some(), "shared again");
    // The only one of its group has no master to become a slave of.
    spread(c"m", MS_SLAVE);
    eq(the_info("m").fields, Vec::<String>::new());
    spread(c"m", MS_PRIVATE);
    eq(the_info("m").fields, Vec::<String>::new());
}

case!(change_of_kind_errors: mount; root; disk);
fn change_of_kind_errors() {
    own_mounts();
    tmpfs(c"m");
    mkdir(c"m/d");
    fails(sys!(mount, 0, c"m", 0, MS_SHARED | MS_PRIVATE, 0), EINVAL);
    fails(sys!(mount, 0, c"m", 0, MS_SHARED | MS_NOSUID, 0), EINVAL);
    fails(sys!(mount, 0, c"m/d", 0, MS_SHARED, 0), EINVAL);
    fails(sys!(mount, 0, c"missing", 0, MS_SHARED, 0), ENOENT);
    ok(sys!(mount, 0, c"m", 0, MS_SHARED | MS_SILENT, 0));
}

case!(recursive_change: mount; root; disk);
fn recursive_change() {
    own_mounts();
    tmpfs(c"m");
    tmpfs(c"m/sub");
    spread(c"m", MS_SHARED);
    check(field("m/sub", "shared:").is_none(), "not what is below");
    spread(c"m", MS_SHARED | MS_REC);
    let (top, below) = (field("m", "shared:"), field("m/sub", "shared:"));
    check(below.is_some() && below != top, "a group each");
}

case!(peers_share_mounts: mount, umount2; root; disk);
fn peers_share_mounts() {
    own_mounts();
    peers();
    eq(field("m", "shared:"), field("n", "shared:"));
    ok(sys!(mount, c"none", c"m/d", c"tmpfs", 0, 0));
    check(is_mounted("n/d"), "it has spread");
    eq(field("m/d", "shared:"), field("n/d", "shared:"));
    check(field("m/d", "shared:").is_some(), "what lies on a shared mount is shared");
    put(c"m/d/f", b"x");
    eq(content(c"n/d/f"), b"x");
    // Both ways, and so does its end.
    mkdir(c"n/d/e");
    ok(sys!(mount, c"none", c"n/d/e", c"tmpfs", 0, 0));
    check(is_mounted("m/d/e"), "back");
    ok(sys!(umount2, c"m/d/e", 0));
    check(!is_mounted("n/d/e"), "gone there too");
    ok(sys!(umount2, c"n/d", 0));
    check(!is_mounted("m/d"), "and here");
}

case!(slaves_only_take: mount, umount2; root; disk);
fn slaves_only_take() {
    own_mounts();
    peers();
    mkdir(c"m/e");
    spread(c"n", MS_SLAVE);
    eq(field("n", "master:"), field("m", "shared:"));
    check(field("n", "shared:").is_none(), "no longer a peer");
    ok(sys!(mount, c"none", c"m/d", c"tmpfs", 0, 0));
    check(is_mounted("n/d"), "taken");
    eq(field("n/d", "master:"), field("m/d", "shared:"));
    ok(sys!(mount, c"none", c"n/e", c"tmpfs", 0, 0));
    check(!is_mounted("m/e"), "not given");
    eq(the_info("n/e").fields, Vec::<String>::new());
    ok(sys!(umount2, c"n/d", 0));
    check(is_mounted("m/d"), "its end is not given either");
    ok(sys!(mount, c"none", c"n/d", c"tmpfs", 0, 0));
    // Something else lies there now, and it goes with the master's all the same.
    ok(sys!(umount2, c"m/d", 0));
    check(!is_mounted("m/d"), "gone");
}

case!(a_slave_can_be_shared_too: mount; root; disk);
fn a_slave_can_be_shared_too() {
    own_mounts();
    peers();
    spread(c"n", MS_SLAVE);
    spread(c"n", MS_SHARED);
    bind(c"n", c"o");
    check(field("n", "master:").is_some() && field("n", "shared:").is_some(), "both");
    eq((field("o", "shared:"), field("o", "master:")), (field("n", "shared:"), field("n", "master:")));
    ok(sys!(mount, c"none", c"m/d", c"tmpfs", 0, 0));
    check(is_mounted("n/d") && is_mounted("o/d"), "to all of the slave's group");
    eq(field("n/d", "shared:"), field("o/d", "shared:"));
    eq(field("n/d", "master:"), field("m/d", "shared:"));
    mkdir(c"n/e");
    ok(sys!(mount, c"none", c"n/e", c"tmpfs", 0, 0));
    check(is_mounted("o/e") && !is_mounted("m/e"), "among themselves only");
}

case!(a_chain_of_slaves: mount; root; disk);
fn a_chain_of_slaves() {
    own_mounts();
    peers();
    spread(c"n", MS_SLAVE);
    spread(c"n", MS_SHARED);
    bind(c"n", c"o");
    spread(c"o", MS_SLAVE);
    ok(sys!(mount, c"none", c"m/d", c"tmpfs", 0, 0));
    check(is_mounted("o/d"), "over two steps");
    eq(field("o/d", "master:"), field("n/d", "shared:"));
    // The group in the middle ends: its slaves go to its master.
    ok(sys!(umount2, c"n", MNT_DETACH));
    eq(field("o", "master:"), field("m", "shared:"));
}

case!(private_mounts_keep_to_themselves: mount; root; disk);
fn private_mounts_keep_to_themselves() {
    own_mounts();
    tmpfs(c"m");
    bind(c"m", c"n");
    mkdir(c"m/d");
    ok(sys!(mount, c"none", c"m/d", c"tmpfs", 0, 0));
    check(!is_mounted("n/d"), "private");
    spread(c"m", MS_SHARED);
    mkdir(c"m/e");
    ok(sys!(mount, c"none", c"m/e", c"tmpfs", 0, 0));
    check(!is_mounted("n/e"), "made shared later, they are no peers");
}

case!(unbindable_mounts: mount; root; disk);
fn unbindable_mounts() {
    own_mounts();
    tmpfs(c"m");
    spread(c"m", MS_UNBINDABLE);
    mkdir(c"n");
    fails(sys!(mount, c"m", c"n", 0, MS_BIND, 0), EINVAL);
    mkdir(c"m/d");
    fails(sys!(mount, c"m/d", c"n", 0, MS_BIND, 0), EINVAL);
    // A recursive bind leaves it out.
    tmpfs(c"top");
    tmpfs(c"top/sub");
    spread(c"top/sub", MS_UNBINDABLE);
    ok(sys!(mount, c"top", c"n", 0, MS_BIND | MS_REC, 0));
    check(is_mounted("n") && !is_mounted("n/sub"), "left out");
    // It can't be moved to where it would spread.
    spread(c"n", MS_SHARED);
    mkdir(c"n/x");
    fails(sys!(mount, c"m", c"n/x", 0, MS_MOVE, 0), EINVAL);
}

case!(a_bind_of_a_part_takes_what_is_in_it: mount; root; disk);
fn a_bind_of_a_part_takes_what_is_in_it() {
    own_mounts();
    tmpfs(c"m");
    spread(c"m", MS_SHARED);
    mkdir(c"m/d");
    mkdir(c"m/d/in");
    mkdir(c"m/out");
    bind(c"m/d", c"n");
    ok(sys!(mount, c"none", c"m/d/in", c"tmpfs", 0, 0));
    ok(sys!(mount, c"none", c"m/out", c"tmpfs", 0, 0));
    check(is_mounted("n/in"), "in its part");
    ok(sys!(mount, c"none", c"m/d", c"tmpfs", 0, 0));
    eq(info("n").len(), 2);
}

case!(binds_spread_with_what_is_below: mount; root; disk);
fn binds_spread_with_what_is_below() {
    own_mounts();
    peers();
    tmpfs(c"x");
    tmpfs(c"x/sub");
    put(c"x/sub/f", b"x");
    ok(sys!(mount, c"x", c"m/d", 0, MS_BIND | MS_REC, 0));
    eq(content(c"n/d/sub/f"), b"x");
    check(is_mounted("n/d/sub"), "both levels");
    ok(sys!(umount2, c"n/d", MNT_DETACH));
    check(!is_mounted("m/d") && !is_mounted("m/d/sub"), "taken down at once");
    check(is_mounted("x/sub"), "the source stays");
}

case!(moves_spread: mount; root; disk);
fn moves_spread() {
    own_mounts();
    peers();
    tmpfs(c"x");
    put(c"x/f", b"x");
    ok(sys!(mount, c"x", c"m/d", 0, MS_MOVE, 0));
    eq(content(c"n/d/f"), b"x");
    check(field("m/d", "shared:").is_some(), "it has become shared");
}

case!(busy_through_a_peer: mount, umount2; root; disk);
fn busy_through_a_peer() {
    own_mounts();
    peers();
    ok(sys!(mount, c"none", c"m/d", c"tmpfs", 0, 0));
    let fd = open(c"n/d", O_PATH);
    fails(sys!(umount2, c"m/d", 0), EBUSY);
    check(is_mounted("m/d") && is_mounted("n/d"), "nothing has happened");
    close(fd);
    ok(sys!(umount2, c"m/d", 0));
    check(!is_mounted("n/d"), "both gone");
}

case!(between_namespaces: unshare, mount; root; disk);
fn between_namespaces() {
    own_mounts();
    tmpfs(c"m");
    spread(c"m", MS_SHARED);
    mkdir(c"m/ours");
    mkdir(c"m/theirs");
    let [r, w] = pipe(0);
    let [r2, w2] = pipe(0);
    let child = fork(|| {
        ok(sys!(unshare, CLONE_NEWNS));
        ok(sys!(mount, c"none", c"m/theirs", c"tmpfs", 0, 0));
        write_all(w, b"x");
        read(r2, 1);
        check(is_mounted("m/ours"), "ours has come");
        spread(c"m", MS_SLAVE);
        write_all(w, b"x");
        read(r2, 1);
        check(!is_mounted("m/ours"), "ours has gone");
        ok(sys!(mount, c"none", c"m/ours", c"tmpfs", 0, 0));
        write_all(w, b"x");
        read(r2, 1);
    });
    read(r, 1);
    check(is_mounted("m/theirs"), "theirs has come");
    ok(sys!(mount, c"none", c"m/ours", c"tmpfs", 0, 0));
    write_all(w2, b"x");
    read(r, 1);
    ok(sys!(umount2, c"m/ours", 0));
    write_all(w2, b"x");
    read(r, 1);
    check(!is_mounted("m/ours"), "a slave keeps its own");
    write_all(w2, b"x");
    child.succeeds();
    check(is_mounted("m/theirs"), "what has come stays when the other namespace ends");
}

case!(a_new_namespace_copies_the_kinds: unshare; root; disk);
fn a_new_namespace_copies_the_kinds() {
    own_mounts();
    tmpfs(c"a");
    tmpfs(c"b");
    spread(c"b", MS_SHARED);
    let before = field("b", "shared:");
    ok(sys!(unshare, CLONE_NEWNS));
    eq(the_info("a").fields, Vec::<String>::new());
    eq(field("b", "shared:"), before);
}

case!(what_spreads_goes_below_what_is_there: mount; root; disk);
fn what_spreads_goes_below_what_is_there() {
    own_mounts();
    peers();
    spread(c"n", MS_SLAVE);
    ok(sys!(mount, c"own", c"n/d", c"tmpfs", 0, 0));
    put(c"n/d/own", b"");
    ok(sys!(mount, c"theirs", c"m/d", c"tmpfs", 0, 0));
    put(c"m/d/theirs", b"");
    // The slave's own mount stays on top of what has come.
    check(exists(c"n/d/own"), "still on top");
    eq(info("n/d").len(), 2);
    ok(sys!(umount2, c"n/d", 0));
    check(exists(c"n/d/theirs"), "and that is below it");
}
