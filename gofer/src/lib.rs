//! Serves a tree of host files to the Sentry, confined to it.
