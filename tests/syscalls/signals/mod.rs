//! Signals: how they are sent, queued, blocked and delivered.

mod actions;
mod altstack;
mod frame;
mod itimer;
mod mask;
mod mask_often;
mod posix_timer;
mod realtime_queue;
mod restart;
mod siginfo;
mod signalfd;
mod sigtimedwait;
mod timerfd;
mod xsave;
