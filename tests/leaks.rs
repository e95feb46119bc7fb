//! The whole process under valgrind: nothing of this library's own is lost, and no memory is read or written wrongly.

mod common;

use std::process::{Command, Stdio};

use common::*;

/// Runs an encode under valgrind and returns the blocks of its report, one complaint each.
fn complaints(command: &str, extra: &[&str]) -> Vec<String> {
    let folder = scratch();
    let script = text_script(
        "clip = core.std.BlankClip(format=vs.YUV420P8, width=192, height=108, length=24)\n\
         still = clip\n\
         clip = core.std.FrameEval(still, lambda n: still)",
    );
    let script = script_file(folder.path(), "short.vpy", &script);
    let output = Command::new("valgrind")
        .args(["--leak-check=full", "--show-leak-kinds=definite", "--num-callers=40", "--child-silent-after-fork=yes"])
        .arg(example("encode"))
        .arg(script)
        .arg(folder.path().join("out.mkv"))
        .args(["--param", command])
        .args(extra)
        // Python's own allocator confuses valgrind.
        .env("PYTHONMALLOC", "malloc")
        .stdin(Stdio::null())
        .output()
        .expect("valgrind: run `make setup`");
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{report}");
    assert!(report.contains("LEAK SUMMARY") || report.contains("All heap blocks were freed"), "{report}");
    assert!(folder.path().join("out.mkv").is_file());
    let text: Vec<&str> = report
        .lines()
        .filter_map(|line| line.strip_prefix("==").and_then(|line| line.split_once("==")))
        .map(|(_, line)| line)
        .collect();
    text.join("\n").split("\n \n").map(str::to_owned).collect()
}

/// What passes through our code or holds what our code hands to libav. Leaks of libav, of Python or of an encoder that
/// none of our functions is part of are theirs.
fn ours(complaints: &[String]) -> Vec<&String> {
    let is_leak_or_fault = |block: &&String| {
        ["definitely lost", "Invalid read", "Invalid write", "uninitialised", "Invalid free"]
            .iter()
            .any(|sign| block.contains(sign))
    };
    let is_ours = |block: &&String| block.contains("finalrip_core::");
    complaints.iter().filter(is_leak_or_fault).filter(is_ours).filter(|block| !is_others(block)).collect()
}

/// Python and VapourSynth keep what they allocate at their start; the way there leads through our `load`. And the dynamic
/// linker reads the path that it is given in whole words, past its end, if the path is of such a length.
fn is_others(block: &str) -> bool {
    ["libpython", "_Py", "getVSScriptAPI", "(dl-load.c:"].iter().any(|sign| block.contains(sign))
}

fn assert_clean(command: &str, extra: &[&str]) {
    let complaints = complaints(command, extra);
    let ours = ours(&complaints);
    assert!(ours.is_empty(), "{command}:\n{ours:#?}");
}

#[test]
fn a_short_encode_loses_nothing() {
    assert_clean("-c:v libx264 -preset ultrafast", &[]);
}

#[test]
#[ignore = "valgrind takes a minute for each"]
fn conversions_and_other_encoders_lose_nothing() {
    assert_clean("-c:v ffv1 -vf scale=96:54 -pix_fmt yuv444p", &["--ignore-props"]);
    // Not SVT-AV1: the encode itself does not end well inside valgrind, while it does outside.
    assert_clean("-c:v libvpx-vp9 -cpu-used 8 -deadline realtime", &[]);
}
