//! Any text is read as an encode command or refused with a message; nothing panics, hangs or corrupts memory, although
//! names and values go through libav.
//!
//! ```text
//! cargo install cargo-fuzz
//! cd finalrip-core && mkdir -p fuzz/corpus/encode_command
//! RUSTC_BOOTSTRAP=1 cargo fuzz run encode_command fuzz/corpus/encode_command fuzz/seeds/encode_command -- \
//!     -dict=fuzz/encode_command.dict -max_total_time=600 -timeout=10 -max_len=512
//! ```
//!
//! `RUSTC_BOOTSTRAP=1` lets a stable compiler take the sanitizer's flags; a nightly one needs no such leave.

#![no_main]

use std::sync::Once;

use finalrip_core::EncodeCommand;
use libfuzzer_sys::fuzz_target;

static QUIET: Once = Once::new();

fuzz_target!(|text: &str| {
    // libav complains of every bad value on stderr, and printing would take most of the time.
    QUIET.call_once(|| ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet));
    match EncodeCommand::parse(text) {
        Ok(command) => assert!(!command.encoder_options().iter().any(|(name, _)| name.is_empty())),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
