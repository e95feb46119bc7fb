//! Scripts that end their process, or never end.

use std::time::{Duration, Instant};

use finalrip_core::task::{Answer, EncoderProcess, Order, ProcessError};
use tokio::time::timeout;

use crate::shared::{Place, died, failed, is_alive};

pub(crate) async fn a_script_that_ends_the_process_is_told_in_words() {
    let place = Place::new();
    let cases = [
        ("import ctypes\nctypes.string_at(0)", "was killed by signal 11 (SIGSEGV)"),
        ("import os\nos.abort()", "was killed by signal 6 (SIGABRT)"),
        ("import os\nos.kill(os.getpid(), 9)", "was killed by signal 9 (SIGKILL"),
        ("import os\nos._exit(0)", "ended with status 0 in the middle of its work"),
        ("import os\nos._exit(7)", "ended with status 7 in the middle of its work"),
    ];
    for (script, expected) in cases {
        let mut process = place.start().await;
        let script = format!("print('the last words')\n{script}");
        let (reason, log) = died(place.outcome(&mut process, &script).await);
        assert!(reason.contains(&format!("the encoder process {expected}")), "{reason}");
        assert!(log.contains("the last words"), "{reason}\n{log}");
        assert!(reason.contains("the last words"), "{reason}");
        let crashes = expected.contains("SIGSEGV") || expected.contains("SIGABRT");
        for said in ["; Python was at:\n  File", "File \"<string>\", line 3 in <module>"] {
            assert_eq!(reason.contains(said), crashes, "{reason}");
        }
        let again = died(process.perform(&Order::Check { script: String::new() }, &mut |_| {}).await);
        assert_eq!(again, (reason, log), "it stays dead");
        process.kill().await;
    }
    assert_eq!(place.scratches(), [""; 0]);
}

pub(crate) async fn a_script_that_exits_fails_and_the_process_lives() {
    let place = Place::new();
    let mut process = place.start().await;
    for script in ["import sys\nsys.exit()", "import sys\nsys.exit('no more')", "exit(3)"] {
        let failure = failed(place.outcome(&mut process, script).await);
        assert!(failure.permanent, "{failure:?}");
    }
    let script = String::from("a = 1");
    assert_eq!(process.perform(&Order::Check { script }, &mut |_| {}).await.unwrap(), Answer::Checked);
    process.kill().await;
}

pub(crate) async fn an_endless_script_is_killed() {
    let place = Place::new();
    for script in [
        "while True: pass",
        "import time\ntime.sleep(1000)",
        "import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile True: pass",
    ] {
        let mut process = place.start().await;
        let id = process.id();
        let endless = place.outcome(&mut process, script);
        assert!(timeout(Duration::from_millis(1500), endless).await.is_err());
        assert!(is_alive(id));
        let start = Instant::now();
        process.kill().await;
        println!("killed after {:?}", start.elapsed());
        assert!(!is_alive(id));
        assert_eq!(place.scratches(), [""; 0]);
    }
}

pub(crate) async fn memory_has_a_limit() {
    let mut place = Place::new();
    place.options.limits.address_space = Some(3 << 30);
    let mut process = place.start().await;
    let failure = failed(place.outcome(&mut process, "kept = []\nwhile True: kept.append(bytearray(1 << 26))").await);
    assert!(failure.reason.contains("MemoryError"), "{}", failure.reason);
    assert!(!failure.permanent, "there may be more of it another time");
    // What C code does without memory is its own affair: it may fail, or the process may die of it.
    let frame = "import vapoursynth as vs\nvs.core.std.BlankClip(width=60000, height=60000).get_frame(0)";
    let error = place.outcome(&mut process, frame).await.unwrap_err();
    println!("a frame that is too large: {error}");
    let failure = error.into_failure();
    assert!(!failure.permanent || failure.reason.contains("get_frame"), "{failure:?}");
    process.kill().await;
}

pub(crate) async fn what_was_left_busy_takes_no_order() {
    let place = Place::new();
    let mut process = place.start().await;
    let endless = place.outcome(&mut process, "while True: pass");
    assert!(timeout(Duration::from_millis(200), endless).await.is_err());
    let (reason, _) = died(process.perform(&Order::Check { script: String::new() }, &mut |_| {}).await);
    assert!(reason.contains("in the middle of another order"), "{reason}");
    process.kill().await;
}

pub(crate) async fn a_start_that_fails_says_why_and_leaves_nothing() {
    type Spoil = fn(&mut Place);
    let cases: [(Spoil, &str); 5] = [
        (|place| place.options.program.program = "/nowhere/finalrip".into(), "/nowhere/finalrip does not start"),
        (|place| place.options.program.program = "/bin/false".into(), "ended with status 1"),
        (|place| place.scope.source = Some("/nowhere/source.mkv".into()), "/nowhere/source.mkv"),
        (|place| place.options.confinement.read.push("/nowhere/plugins".into()), "/nowhere/plugins"),
        (|place| place.options.scratch = "/proc/nowhere".into(), "/proc/nowhere"),
    ];
    for (spoil, expected) in cases {
        let mut place = Place::new();
        spoil(&mut place);
        let error = EncoderProcess::start(&place.options, place.scope.clone()).await.unwrap_err();
        assert!(matches!(&error, ProcessError::Start { reason } if reason.contains(expected)), "{error}");
        crate::shared::until("the scratch folder is removed", || place.scratches().is_empty()).await;
    }
}
