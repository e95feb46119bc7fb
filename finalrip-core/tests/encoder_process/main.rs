//! Encoder processes, for real: this program is the worker's side of every test and, started with `encoder-process`, the
//! child's side as well. VapourSynth and bestsource come from `.venv`; the scripts do what scripts should not do.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::print_stdout, reason = "a test may say what it saw")]

mod deaths;
mod descendants;
mod isolation;
mod orders;
mod shared;
mod streams;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Names each test after its path.
macro_rules! trials {
    ($($module:ident: $($test:ident),+;)+) => {
        vec![$($(Trial::test(concat!(stringify!($module), "::", stringify!($test)), || {
            shared::block_on($module::$test());
            Ok(())
        })),+),+]
    };
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("encoder-process") => return finalrip_core::task::encoder_process(),
        Some("server") => {
            shared::block_on(descendants::the_server());
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let trials = trials! {
        deaths: a_script_that_ends_the_process_is_told_in_words, a_script_that_exits_fails_and_the_process_lives,
            an_endless_script_is_killed, memory_has_a_limit, what_was_left_busy_takes_no_order,
            a_start_that_fails_says_why_and_leaves_nothing;
        descendants: nothing_that_was_forked_survives_a_kill, nothing_survives_the_encoders_own_end,
            what_forks_and_ends_without_pause_is_ended, a_dropped_process_is_gone_a_moment_later,
            nothing_survives_the_servers_end, the_death_of_the_guardian_is_seen_and_cleaned_up_after,
            leftovers_of_a_dead_server_are_swept;
        isolation: only_what_is_allowed_can_be_written, only_what_is_allowed_can_be_read, there_is_no_network,
            nobody_outside_can_be_signalled, files_keep_their_attributes, other_processes_are_out_of_reach, limits_are_in_force, the_environment_holds_nothing_of_the_servers,
            all_of_it_can_be_widened, it_can_be_switched_off;
        orders: a_script_is_compiled_and_not_run, an_index_is_made_once, clips_are_those_of_the_library,
            failures_say_whether_to_try_again, a_part_of_the_source_is_cut;
        streams: a_script_may_print_and_close_what_it_likes, closing_everything_is_a_death_and_no_wait,
            a_message_without_end_costs_no_memory;
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
