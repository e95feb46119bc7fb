//! Scripts that misuse the process's pipes.

use std::time::Duration;

use finalrip_core::task::{Answer, Order};
use tokio::time::timeout;

use crate::shared::{Place, died, failed};

/// Ends a script well.
const CLIP: &str = "\nimport vapoursynth as vs\nvs.core.std.BlankClip(width=64, height=64, length=4).set_output()\n";

pub(crate) async fn a_script_may_print_and_close_what_it_likes() {
    let place = Place::new();
    let noises = [
        "print('x' * 50_000_000)\nprint('y' * 50_000_000, end='')",
        "import sys\nfor line in range(200_000): print(line, file=sys.stderr)",
        "import os\nos.write(1, b'{\"Done\":\"Checked\"}\\n')\nos.write(1, b'\\xff\\x00\\n' * 1000)",
        "import sys\nassert sys.stdin.read() == ''",
        "import os\nfor fd in 0, 1, 2: os.close(fd)\nfor n in range(10): os.open('/dev/null', os.O_RDWR)",
    ];
    for noise in noises {
        let mut process = place.start().await;
        let outcome = place.outcome(&mut process, &format!("{noise}{CLIP}")).await;
        assert!(matches!(&outcome, Ok(Answer::Planned(plan)) if plan.clips.len() == 1), "{noise}: {outcome:?}");
        let failure = failed(place.outcome(&mut process, "raise ValueError('over')").await);
        assert!(failure.reason.contains("ValueError: over") && failure.reason.len() <= 4096, "{}", failure.reason);
        assert!(failure.log.len() <= 64 << 10, "{noise}: {} bytes of log", failure.log.len());
        process.kill().await;
    }
}

pub(crate) async fn closing_everything_is_a_death_and_no_wait() {
    let place = Place::new();
    let mut process = place.start().await;
    let script = format!("import os\nos.closerange(0, 1000){CLIP}");
    let outcome = timeout(Duration::from_secs(20), place.outcome(&mut process, &script)).await.unwrap();
    let (reason, _) = died(outcome);
    assert!(reason.contains("the encoder process"), "{reason}");
    process.kill().await;
}

pub(crate) async fn a_message_without_end_costs_no_memory() {
    let place = Place::new();
    let mut process = place.start().await;
    // The way to the worker is somewhere above the usual descriptors.
    let script = "import os\n\
                  for fd in range(100, 300):\n    try:\n        \
                  if os.readlink(f'/proc/self/fd/{fd}').startswith('pipe:'):\n            \
                  os.set_blocking(fd, True)\n            \
                  for n in range(200): os.write(fd, b'x' * 1_000_000)\n    except OSError: pass\n";
    let outcome = timeout(Duration::from_secs(20), place.outcome(&mut process, script)).await.unwrap();
    let (reason, _) = died(outcome);
    assert!(reason.contains("a line of more than"), "{reason}");
    let (reason, _) = died(process.perform(&Order::Check { script: String::new() }, &mut |_| {}).await);
    assert!(reason.contains("a line of more than"), "{reason}");
    process.kill().await;
    assert_eq!(place.scratches(), [""; 0]);
}
