//! The part of this program that runs as a process of its own: the library's side.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use finalrip_core::{
    CancelToken, ClipInfo, Deliver, EncodeCommand, Frame, FrameRange, FrameSource, Frames, Options, Script,
};

use crate::measure::{self, Usage};

/// What the child is to do.
pub(crate) struct Request {
    kind: Kind,
    script: PathBuf,
    output: PathBuf,
    command: String,
}

#[derive(Clone, Copy)]
enum Kind {
    Encode,
    Preloaded,
}

/// The first argument of a child that encodes a script.
pub(crate) const ENCODE: &str = "--encode";

/// The first argument of a child that makes all frames first and then encodes and measures; it prints its [`Usage`].
pub(crate) const PRELOADED: &str = "--preloaded";

/// The request in this process's arguments, if it is such a child: kind, script, output, encode command.
pub(crate) fn requested() -> Option<Request> {
    let mut arguments = std::env::args_os().skip(1);
    let kind = match arguments.next()?.to_str()? {
        ENCODE => Kind::Encode,
        PRELOADED => Kind::Preloaded,
        _ => return None,
    };
    let (script, output, command) = (arguments.next()?.into(), arguments.next()?.into(), arguments.next()?);
    Some(Request { kind, script, output, command: command.into_string().ok()? })
}

/// Does what was asked for. The source is in the environment, where the pipe has it too.
pub(crate) fn serve(request: &Request) -> Result<()> {
    let script = Script::from_path(&request.script);
    let command = EncodeCommand::parse(&request.command)?;
    // The pipe shows its encoder no frame properties.
    let options = Options { ignore_props: true, requests: requests()?, ..Options::default() };
    match request.kind {
        Kind::Encode => {
            finalrip_core::encode(&script, &command, &request.output, &options, |_| {})?;
        }
        Kind::Preloaded => {
            let source = Arc::new(Preloaded::new(&script)?);
            let (start, cpu) = (Instant::now(), measure::own_cpu_seconds());
            finalrip_core::encode_source(source, &command, &request.output, &options, |_| {})?;
            let (wall, cpu) = (start.elapsed().as_secs_f64(), measure::own_cpu_seconds() - cpu);
            println!("{}", Usage { wall, cpu, ..Usage::default() }.to_line());
        }
    }
    Ok(())
}

/// `FINALRIP_BENCH_REQUESTS` tries another number of frames in flight than the library's own.
fn requests() -> Result<Option<usize>> {
    let text = std::env::var_os("FINALRIP_BENCH_REQUESTS");
    text.map(|text| text.to_str().unwrap_or_default().parse().context("FINALRIP_BENCH_REQUESTS: not a number"))
        .transpose()
}

/// Frames that are there already: no filter works while they are encoded.
struct Preloaded {
    info: ClipInfo,
    frames: Vec<Frame>,
}

impl Preloaded {
    fn new(script: &Script) -> Result<Self> {
        let clip = Arc::new(script.evaluate()?);
        let info = clip.info().clone();
        let range = FrameRange { start: 0, end: info.frames };
        let mut source = Frames::new(clip, range, info.threads);
        let mut frames = Vec::new();
        while let Some(frame) = source.next(&CancelToken::new())? {
            frames.push(frame);
        }
        if frames.len() != range.len() as usize {
            bail!("{} frames of {}", frames.len(), range.len());
        }
        Ok(Self { info, frames })
    }
}

impl FrameSource for Preloaded {
    fn info(&self) -> &ClipInfo {
        &self.info
    }

    fn request(&self, number: u32, deliver: Deliver) {
        deliver(self.frames.get(number as usize).cloned().ok_or_else(|| "there is no such frame".to_owned()));
    }
}
