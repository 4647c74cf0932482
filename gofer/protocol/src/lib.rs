//! Wire protocol between Sentry and Gofer.
