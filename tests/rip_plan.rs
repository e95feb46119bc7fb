//! Plans of real clips: chunks start at the scene cuts that lie near their boundaries, and few frames are looked at.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking, its helpers too")]

mod common;

use common::*;
use finalrip_core::{ChunkLength, EncodeCommand, FrameRange, Plan, Rip, RipOptions, Script};

/// The plan for a clip that `body` makes.
fn plan(body: &str, options: RipOptions) -> Plan {
    let folder = scratch();
    let command = EncodeCommand::parse("-c:v ffv1").unwrap();
    let rip = Rip::new(Script::from_text(text_script(body)), command, folder.path().join("out.mkv")).options(options);
    let plan = rip.plan().unwrap();
    assert!(files_in(folder.path()).is_empty(), "a plan writes nothing");
    plan
}

fn two_workers() -> RipOptions {
    RipOptions { workers: Some(2), ..RipOptions::default() }
}

/// Scenes of one colour each that change at these frames, 1,000 frames in all.
fn scenes(format: &str, cuts: &[u32]) -> String {
    let mut ends = cuts.to_vec();
    ends.push(1000);
    let mut start = 0;
    let mut scene = |(number, end): (usize, &u32)| {
        let (length, luma) = (end - start, if number % 2 == 0 { 0.2 } else { 0.7 });
        start = *end;
        format!(
            "core.std.BlankClip(width=640, height=360, format=vs.YUV444PS, length={length}, fpsnum=25, fpsden=1, \
             color=[{luma}, 0.0, 0.0]).resize.Point(format=vs.{format}, matrix_in_s='709')"
        )
    };
    let scenes: Vec<String> = ends.iter().enumerate().map(&mut scene).collect();
    format!("clip = core.std.Splice([{}])", scenes.join(", "))
}

fn starts(plan: &Plan) -> Vec<(u32, bool)> {
    plan.chunks.iter().map(|chunk| (chunk.range.start, chunk.at_cut)).collect()
}

#[test]
fn chunks_start_at_the_cuts_near_their_boundaries() {
    for format in ["YUV420P8", "YUV422P10", "YUV444P16"] {
        // Boundaries at 250, 500 and 750, and windows of 16 frames: the second cut is too far away.
        let plan = plan(&scenes(format, &[245, 520, 753]), two_workers());
        assert_eq!(starts(&plan), [(0, false), (245, true), (500, false), (753, true)], "{format}");
        assert!((1..=50).contains(&plan.looked_at), "{} of 1000 frames", plan.looked_at);
        assert_eq!(plan.range(), FrameRange { start: 0, end: 1000 });
    }
}

#[test]
fn without_the_search_no_frame_is_looked_at() {
    let options = RipOptions { scene: false, ..two_workers() };
    let plan = plan(&scenes("YUV420P8", &[245]), options);
    assert_eq!((starts(&plan)[1], plan.looked_at), ((250, false), 0));
}

#[test]
fn without_slices_there_is_one_chunk() {
    let options = RipOptions { slice: false, ..two_workers() };
    let plan = plan(&scenes("YUV420P8", &[245]), options);
    assert_eq!((starts(&plan), plan.looked_at, plan.workers), (vec![(0, false)], 0, 1));
}

#[test]
fn a_plan_can_be_printed_and_stored() {
    let options = RipOptions { chunk: ChunkLength::Seconds(16.0), range: Some((100..1000).into()), ..two_workers() };
    let plan = plan(&scenes("YUV420P8", &[498]), options);
    let text = plan.to_string();
    assert!(text.starts_with("900 frames in 3 chunks, 2 workers, "), "{text}");
    assert!(text.contains("100..498"), "{text}");
    assert!(text.contains("at a scene cut"), "{text}");
    let stored = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), plan);
}
