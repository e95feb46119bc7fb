//! Chunks and records that are damaged, and chunks that fail.

use std::path::{Path, PathBuf};

use finalrip_core::{Error, RipEvent, RipOptions};

use crate::common::rips::*;
use crate::common::*;
use crate::job::*;

#[test]
fn what_is_damaged_is_encoded_again() {
    type Damage = fn(&Path, usize);
    let damages: [(&str, Damage); 8] = [
        ("a truncated chunk", |state, chunk| cut(&video_of(state, chunk))),
        ("a chunk whose end is zeros", |state, chunk| zero_the_end(&video_of(state, chunk))),
        ("a chunk of nothing but zeros", |state, chunk| {
            let length = std::fs::metadata(video_of(state, chunk)).unwrap().len() as usize;
            std::fs::write(video_of(state, chunk), vec![0; length]).unwrap();
        }),
        ("a chunk with one bit changed inside a picture", |state, chunk| flip_a_bit(&video_of(state, chunk))),
        ("a missing chunk", |state, chunk| std::fs::remove_file(video_of(state, chunk)).unwrap()),
        ("a truncated record", |state, chunk| cut(&record_of(state, chunk))),
        ("a record of something else", |state, chunk| {
            std::fs::write(record_of(state, chunk), "{\"range\": 7}").unwrap();
        }),
        ("a missing record", |state, chunk| std::fs::remove_file(record_of(state, chunk)).unwrap()),
    ];
    for (name, damage) in damages {
        let job = Job::new(&slow(3));
        job.interrupt();
        let mut finished = job.finished();
        let damaged = finished.remove(0);
        damage(&state_of(&job.output), damaged);
        let events = job.resume();
        assert_eq!(planned_finished(&events), finished, "{name}");
        let missing: Vec<usize> = (0..CHUNKS).filter(|chunk| !finished.contains(chunk)).collect();
        assert_eq!(started(&events), missing, "{name}");
    }
}

fn video_of(state: &Path, chunk: usize) -> PathBuf {
    state.join(format!("chunk-{chunk:05}.mkv"))
}

fn record_of(state: &Path, chunk: usize) -> PathBuf {
    state.join(format!("chunk-{chunk:05}.json"))
}

fn cut(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn flip_a_bit(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn zero_the_end(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    std::fs::write(path, bytes).unwrap();
}

/// A record of the whole that cannot be read is as good as none.
#[test]
fn a_damaged_plan_starts_afresh() {
    let job = Job::new(&slow(3));
    job.interrupt();
    cut(&state_of(&job.output).join("rip.json"));
    let events = job.resume();
    assert_eq!(started(&events), (0..CHUNKS).collect::<Vec<_>>());
}

/// Python: frame 20 fails as often as the file says, each time once less.
fn unlucky(folder: &Path) -> String {
    let left = folder.join("left");
    format!(
        "good = clip\ndef try_it(n):\n    left = int(open({left:?}).read()) if n == 20 and os.path.exists({left:?}) else 0\n    \
         if left:\n        open({left:?}, 'w').write(str(left - 1))\n        raise ValueError('no luck')\n    \
         return good\nclip = core.std.FrameEval(good, try_it)"
    )
}

#[test]
fn a_chunk_that_fails_is_tried_again() {
    let folder = scratch();
    std::fs::write(folder.path().join("left"), "2").unwrap();
    let job = Job::new(&unlucky(folder.path()));
    let (report, events) = try_rip(&job.library_script(), LOSSLESS, &job.output, &options());
    assert_eq!(report.unwrap().failures, 2);
    let failed: Vec<(usize, u32, u32)> = failures(&events);
    assert_eq!(failed, [(2, 1, 3), (2, 2, 2)]);
    job.assert_whole();
}

fn failures(events: &[RipEvent]) -> Vec<(usize, u32, u32)> {
    let failed = events.iter().filter_map(|event| match event {
        RipEvent::ChunkFailed { chunk, attempt, attempts_left, reason } => {
            assert!(reason.contains("no luck") && reason.contains("frame 20"), "{reason}");
            Some((*chunk, *attempt, *attempts_left))
        }
        _ => None,
    });
    failed.collect()
}

#[test]
fn a_chunk_that_always_fails_ends_the_rip_and_what_is_finished_waits_for_the_mending() {
    let folder = scratch();
    std::fs::write(folder.path().join("left"), "1000").unwrap();
    let job = Job::new(&unlucky(folder.path()));
    let one = RipOptions { workers: Some(1), ..options() };
    let (ended, events) = try_rip(&job.library_script(), LOSSLESS, &job.output, &one);
    let error = ended.unwrap_err();
    assert!(matches!(error, Error::Chunk { chunk: 2, attempts: 4, .. }), "{error:?}");
    let text = whole_text(&error);
    for part in ["chunk 2", "14..21", "tried 4 times", "frame 20 failed", "ValueError: no luck"] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    assert_eq!(failures(&events), [(2, 1, 3), (2, 2, 2), (2, 3, 1), (2, 4, 0)]);
    assert_eq!(job.finished(), [0, 1]);
    assert!(!job.output.exists());
    std::fs::remove_file(folder.path().join("left")).unwrap();
    let events = job.resume();
    assert_eq!(planned_finished(&events), [0, 1]);
    assert_eq!(started(&events), (2..CHUNKS).collect::<Vec<_>>());
}
