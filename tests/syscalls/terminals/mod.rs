//! Terminals: pseudoterminals, the line discipline, job control.

mod controlling_tty;
mod editing;
mod hangup;
mod ptys;
mod terminal_modes;
mod terminal_signals;
