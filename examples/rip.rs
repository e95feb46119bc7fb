//! Rips a video: script, encode command and source into one finished file.
#![allow(clippy::print_stdout)]
use finalrip_core::*;
fn main() -> anyhow::Result<()> {
    let a: Vec<String> = std::env::args().collect();
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let chunk = match a.get(5).map(String::as_str) {
        None | Some("auto") => ChunkLength::Auto,
        Some(n) => ChunkLength::Frames(n.parse()?),
    };
    let options = RipOptions {
        workers: a.get(6).map(|w| w.parse().unwrap()),
        chunk,
        scene: a.get(7).is_none(),
        environments: if a.get(8).is_some() { Environments::PerWorker } else { Environments::Shared },
        ..RipOptions::default()
    };
    let report = Rip::new(Script::from_path(&a[1]), EncodeCommand::parse(&a[3])?, &a[2])
        .source(&a[4])
        .options(options)
        .run(|event| match event {
            RipEvent::Progress(_) => {}
            e => println!("{e:?}"),
        })?;
    println!("{report:?}");
    Ok(())
}
