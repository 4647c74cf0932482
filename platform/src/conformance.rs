//! One suite for every back end.
//!
//! Each case runs small pieces of machine code as a guest and looks at the traps, without a kernel. A back end takes the
//! whole suite with [`suite!`]. Cases take a fresh platform each.

pub(crate) mod fpu;
pub(crate) mod guest;
pub(crate) mod interrupts;
pub(crate) mod memory;
pub(crate) mod spaces;
pub(crate) mod threads;
pub(crate) mod traps;

/// Makes a test of every case, for the platform that `$new` makes.
macro_rules! suite {
    ($new:expr) => {
        $crate::conformance::suite!(@cases $new;
            traps::system_call_shows_registers_and_takes_the_result,
            traps::all_registers_can_be_set,
            traps::faults_tell_signal_code_and_address,
            traps::a_file_that_ends_early_is_a_bus_error,
            traps::exceptions_tell_signal_and_code,
            traps::old_system_call_instructions_are_protection_faults,
            traps::single_step_flag_traps,
            traps::the_vsyscall_page_makes_system_calls,
            traps::hostile_registers_do_no_harm,
            traps::segment_bases_are_kept_and_settable,
            memory::mapping_shows_the_memory_file,
            memory::changes_take_effect,
            memory::many_mappings_before_the_first_run,
            memory::protection_skips_holes,
            memory::several_parts_are_protected_at_once,
            memory::pages_that_are_there_are_shown,
            memory::long_file_mappings_change_before_they_are_touched,
            memory::host_files_are_shown,
            memory::bad_ranges_are_refused,
            memory::the_whole_user_range_is_usable,
            fpu::vector_registers_survive_traps,
            fpu::the_area_is_read_and_set,
            fpu::a_hostile_area_is_tamed,
            fpu::a_new_context_starts_clean,
            interrupts::an_early_interrupt_is_kept,
            interrupts::a_spinning_guest_is_interrupted,
            interrupts::no_interrupt_is_lost,
            threads::several_threads_share_a_space,
            threads::prepared_threads_start_while_the_first_is_away,
            threads::threads_come_and_go,
            threads::two_contexts_on_one_thread,
            threads::changes_from_outside_reach_running_threads,
            threads::changes_from_outside_wait_for_the_next_run,
            threads::two_spaces_change_each_other,
            spaces::fork_copies_the_mappings,
            spaces::fork_of_a_fork,
            spaces::fork_from_outside,
            spaces::fork_keeps_no_thread_back,
            spaces::a_context_changes_its_space,
            spaces::many_spaces_come_and_go,
            spaces::time_is_counted,
        );
    };
    (@cases $new:expr; $($module:ident :: $case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::$module::$case(&$new);
            }
        )*
    };
}

pub(crate) use suite;
