//! Linux x86-64 constants and wire structures, no logic.
