//! What a script finds around it: its source, the modules beside it, its text as it was written; and what a crash says.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::*;
use finalrip_core::{Error, Script};

const BLANK: &str =
    "import vapoursynth as vs\nclip = vs.core.std.BlankClip(width=64, height=48, format=vs.YUV420P8, length=WIDTH)\n";

/// A script that has as many frames as `expression` says.
fn counting(before: &str, expression: &str) -> String {
    format!("{before}\n{}clip.set_output()\n", BLANK.replace("WIDTH", expression))
}

/// Held by each test: what surrounds a script is the process's, and that of the last evaluation.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn frames(script: &Script) -> u32 {
    script.evaluate().unwrap_or_else(|error| panic!("{error}")).info().frames
}

#[test]
fn text_may_begin_with_a_byte_order_mark_and_end_its_lines_anyhow() {
    let _alone = alone();
    for ends in ["\n", "\r\n", "\r"] {
        for mark in ["", "\u{feff}"] {
            let text = format!("{mark}{}", counting("# a comment", "7").replace('\n', ends));
            assert_eq!(frames(&Script::from_text(text)), 7, "{ends:?} {mark:?}");
        }
    }
}

#[test]
fn modules_beside_a_script_are_its_own() {
    let _alone = alone();
    let folder = scratch();
    for (name, count) in [("one", 3), ("two", 5)] {
        let place = folder.path().join(name);
        fs::create_dir_all(place.join("package")).unwrap();
        fs::write(place.join("helper.py"), format!("COUNT = {count}\nimport json\n")).unwrap();
        fs::write(place.join("package/__init__.py"), "from .inner import TWICE\n").unwrap();
        fs::write(place.join("package/inner.py"), format!("TWICE = {}\n", 2 * count)).unwrap();
        let text = counting("import helper, package, json, random", "helper.COUNT + package.TWICE");
        script_file(&place, "s.vpy", &text);
    }
    let at = |name: &str| Script::from_path(folder.path().join(name).join("s.vpy"));
    // The same names in two folders of one process, in turns.
    assert_eq!([frames(&at("one")), frames(&at("two")), frames(&at("one"))], [9, 15, 9]);
    // What was edited since is read anew.
    fs::write(folder.path().join("one/helper.py"), "COUNT = 1000\n").unwrap();
    assert_eq!(frames(&at("one")), 1006);
    // A script that is a link finds what lies beside the file.
    fs::create_dir(folder.path().join("links")).unwrap();
    std::os::unix::fs::symlink("../two/s.vpy", folder.path().join("links/s.vpy")).unwrap();
    assert_eq!(frames(&at("links")), 15);
    // A text has no folder of its own, whatever ran before it.
    let text = Script::from_text(counting("import helper", "1"));
    assert!(
        matches!(text.evaluate(), Err(Error::Script { traceback, .. }) if traceback.contains("No module named 'helper'"))
    );
    // What a frame's function imports while frames are made is found as well.
    let late = "def later(n):\n    import helper\n    return clip\n";
    let text = format!("{}{late}clip.std.FrameEval(later).set_output()\n", BLANK.replace("WIDTH", "4"));
    let script = script_file(&folder.path().join("two"), "late.vpy", &text);
    encode(&Script::from_path(script), "-c:v ffv1", &folder.path().join("out.mkv"));
}

/// What a child program, C's `getenv` and Python see.
const LOOK: &str = "import ctypes, os, subprocess\n\
    child = subprocess.run(['sh', '-c', 'printf %s \"$FINALRIP_SOURCE\"'], capture_output=True, text=True).stdout\n\
    getenv = ctypes.CDLL(None).getenv\n\
    getenv.restype = ctypes.c_char_p\n\
    plugin = os.fsdecode(getenv(b'FINALRIP_SOURCE') or b'')\n\
    own = os.environ.get('FINALRIP_SOURCE', '')\n\
    os.environ['ADDED_BY_A_SCRIPT'] = 'x' * 100\n\
    assert child == plugin == own == expected, (child, plugin, own)";

#[test]
fn programs_and_plugins_of_a_script_see_its_source_and_nobody_does_afterwards() {
    let _alone = alone();
    let folder = scratch();
    let source = folder.path().join("a film, \u{e9}.mkv");
    fs::write(&source, "").unwrap();
    let script = Script::from_text(counting(LOOK, "2"));
    let readers = std::thread::spawn(|| (0..200_000).for_each(|_| assert!(std::env::var_os("PATH").is_some())));
    for round in 0..20 {
        let source = if round % 2 == 0 { source.clone() } else { folder.path().join(format!("{round}")) };
        let name = source.to_str().unwrap().to_owned();
        assert_eq!(frames(&script.clone().source(&source).arg("expected", name)), 2);
        assert_eq!(std::env::var_os("FINALRIP_SOURCE"), None);
    }
    assert_eq!(frames(&script.arg("expected", "")), 2);
    assert!(readers.join().is_ok());
    // A script that fails leaves nothing either.
    assert!(Script::from_text("raise ValueError()").source(&source).evaluate().is_err());
    assert_eq!(std::env::var_os("FINALRIP_SOURCE"), None);
}

/// Runs the example `encode` on a script that crashes; returns what it said.
fn crash(folder: &Path, text: &str) -> String {
    let script = script_file(folder, "crash.vpy", text);
    let mut program = Command::new(example("encode"));
    program.arg(script).arg(folder.join("o.mkv")).args(["--param", "-c:v ffv1"]).stdin(Stdio::null());
    let output = program.output().unwrap();
    assert!(output.status.code().is_none(), "it ended by itself");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_crash_of_the_program_names_the_line_of_python() {
    let _alone = alone();
    let folder = scratch();
    let said = crash(folder.path(), "import ctypes\n\ndef deep():\n    ctypes.string_at(0)\n\ndeep()\n");
    assert!(said.contains("Segmentation fault") && said.contains("crash.vpy\", line 4 in deep"), "{said}");
    let said = crash(folder.path(), "import os\nos.abort()\n");
    assert!(said.contains("Aborted") && said.contains("crash.vpy\", line 2"), "{said}");
    let late = "def f(n):\n    import signal\n    signal.raise_signal(signal.SIGILL)\n";
    let said =
        crash(folder.path(), &format!("{}{late}clip.std.FrameEval(f).set_output()\n", BLANK.replace("WIDTH", "4")));
    assert!(said.contains("Illegal instruction") && said.contains("line 5 in f"), "{said}");
}
