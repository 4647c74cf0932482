//! A Gofer that answers nonsense: the guest gets an error, the Sentry stays up and within bounds, and `runsc` says what happened.

#![forbid(unsafe_code)]

mod noise;
mod nonsense;
mod sense;
mod silence;
mod stand_in;
