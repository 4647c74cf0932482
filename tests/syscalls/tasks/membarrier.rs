//! membarrier.

use crate::kit::prelude::*;

case!(query_and_private_expedited: membarrier);
fn query_and_private_expedited() {
    let commands = ok(sys!(membarrier, 0, 0, 0));
    check(commands & 1 << 3 != 0, "PRIVATE_EXPEDITED is offered");
    check(commands & 1 << 4 != 0, "and its registration");
    fails(sys!(membarrier, 1 << 3, 0, 0), EPERM);
    ok(sys!(membarrier, 1 << 4, 0, 0));
    ok(sys!(membarrier, 1 << 3, 0, 0));
}

case!(arguments: membarrier);
fn arguments() {
    fails(sys!(membarrier, 0, 1, 0), EINVAL);
    fails(sys!(membarrier, 1 << 20, 0, 0), EINVAL);
    fails(sys!(membarrier, -1, 0, 0), EINVAL);
}

case!(registration_is_inherited_by_fork: membarrier, fork);
fn registration_is_inherited_by_fork() {
    ok(sys!(membarrier, 1 << 4, 0, 0));
    in_child(|| done(sys!(membarrier, 1 << 3, 0, 0)));
}

case!(global: membarrier);
fn global() {
    let commands = ok(sys!(membarrier, 0, 0, 0));
    if commands & 1 != 0 {
        ok(sys!(membarrier, 1, 0, 0));
    }
    // Expedited needs no registration of the caller.
    if commands & 2 != 0 {
        ok(sys!(membarrier, 2, 0, 0));
    }
}
