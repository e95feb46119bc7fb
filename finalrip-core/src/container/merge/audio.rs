//! Audio that the container cannot carry as it is: decoded, and encoded anew.

use crate::encoder::EncoderError;
use crate::encoder::command::streams::StreamWish;
use crate::ffi::audio::{AudioAbilities, AudioEncoder, AudioForm, AudioSettings, usual_layout};
use crate::ffi::decode::Decoder;
use crate::ffi::filter::FilterGraph;
use crate::ffi::frame::AvFrame;
use crate::ffi::input::InputStream;
use crate::ffi::log::LogTail;
use crate::ffi::{AvError, Packet, StreamParameters};
use crate::units::Rational;

use super::clock::{SampleClock, shifted};
use super::start::Beginning;

/// An encoder that audio may be converted with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) encoder: &'static str,
    /// The sample format for sources of at most 16 bits, if it is for them.
    narrow: Option<&'static str>,
    /// The sample format for all others, if it is for them.
    wide: Option<&'static str>,
    /// What the names of the only codecs that it is for begin with.
    only: Option<&'static str>,
    /// The one rate that it takes.
    sample_rate: Option<u32>,
    /// The only layouts of channels that it takes, if they are few.
    layouts: &'static [&'static str],
    /// Bits a second for each channel, where it is lossy.
    bit_rate: Option<u64>,
}

/// The layouts of Ogg (RFC 7845, 5.1.1.2, and the Vorbis I specification, 4.3.9), by the number of channels.
const OPUS_LAYOUTS: &[&str] = &["mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"];

/// Lossless first, then by how good they sound. Floating point stays so where it can: it may exceed full scale.
pub(super) const CANDIDATES: [Candidate; 11] = [
    float("pcm_f32le", "flt", "pcm_f32"),
    float("pcm_f64le", "dbl", "pcm_f64"),
    lossless("flac", Some("s16"), Some("s32")),
    lossless("alac", Some("s16p"), Some("s32p")),
    lossless("pcm_s16le", Some("s16"), None),
    lossless("pcm_s24le", None, Some("s32")),
    // MXF has PCM of one rate.
    Candidate { sample_rate: Some(48_000), ..lossless("pcm_s16le", Some("s16"), None) },
    Candidate { sample_rate: Some(48_000), ..lossless("pcm_s24le", None, Some("s32")) },
    Candidate { layouts: OPUS_LAYOUTS, ..lossy("libopus", "flt", Some(48_000), 96_000) },
    lossy("aac", "fltp", None, 128_000),
    lossy("ac3", "fltp", Some(48_000), 96_000),
];

const fn lossless(encoder: &'static str, narrow: Option<&'static str>, wide: Option<&'static str>) -> Candidate {
    Candidate { encoder, narrow, wide, only: None, sample_rate: None, layouts: &[], bit_rate: None }
}

const fn float(encoder: &'static str, format: &'static str, only: &'static str) -> Candidate {
    Candidate { only: Some(only), ..lossless(encoder, Some(format), Some(format)) }
}

const fn lossy(encoder: &'static str, format: &'static str, sample_rate: Option<u32>, bit_rate: u64) -> Candidate {
    Candidate { sample_rate, bit_rate: Some(bit_rate), ..lossless(encoder, Some(format), Some(format)) }
}

impl Candidate {
    /// How it would encode a stream; `None` when it is not for such.
    pub(super) fn settings(&self, stream: &StreamParameters, global_header: bool) -> Option<AudioSettings> {
        if self.only.is_some_and(|only| !stream.codec_name().starts_with(only)) {
            return None;
        }
        let narrow = stream.is_narrow();
        let sample_format = if narrow { self.narrow } else { self.wide }?;
        Some(AudioSettings {
            encoder: self.encoder.to_owned(),
            sample_format: sample_format.to_owned(),
            sample_rate: self.sample_rate.or(stream.sample_rate())?,
            bits: sample_format.starts_with("s32").then_some(24),
            layouts: self.layouts.iter().map(|&name| name.to_owned()).collect(),
            bit_rate: self.bit_rate.zip(stream.channels()).map(|(rate, channels)| rate * u64::from(channels)),
            global_header,
            ..AudioSettings::default()
        })
    }
}

/// What the command asks for: an encoder with its options, and of the sound what it says; the rest stays as it is in the
/// source, as near as the encoder takes it.
pub(super) fn asked_for(
    encoder: &str,
    wish: &StreamWish,
    stream: &StreamParameters,
    global_header: bool,
) -> Result<AudioSettings, String> {
    let abilities = AudioAbilities::of(encoder).ok_or_else(|| format!("libav has no encoder {encoder}"))?;
    let source_rate = stream.sample_rate().ok_or("the source does not tell its sample rate")?;
    let format = wish.sample_format.clone().or_else(|| abilities.best_format(stream));
    let layouts = match encoder {
        // libav's encoder does not say which layouts it takes.
        "libopus" => OPUS_LAYOUTS.iter().map(|&name| name.to_owned()).collect(),
        _ => abilities.layouts.clone(),
    };
    let sample_format = format.unwrap_or_else(|| "s16".to_owned());
    // Lossless encoders keep 24 bits of 32, which is what sources have.
    let is_lossless = ["flac", "alac"].contains(&encoder) && sample_format.starts_with("s32");
    Ok(AudioSettings {
        encoder: encoder.to_owned(),
        sample_format,
        sample_rate: wish.sample_rate.unwrap_or_else(|| abilities.best_rate(source_rate)),
        bits: is_lossless.then_some(24),
        layout: wish.layout.clone().or_else(|| wish.channels.and_then(usual_layout)),
        layouts,
        bit_rate: None,
        filters: wish.filters.clone(),
        options: wish.options.clone(),
        global_header,
    })
}

/// One stream being converted. Times of its packets are in [`AudioConversion::time_base`].
#[derive(Debug)]
pub(super) struct AudioConversion {
    decoder: Decoder,
    graph: Option<(AudioForm, FilterGraph)>,
    encoder: AudioEncoder,
    clock: Option<SampleClock>,
    /// Where the stream begins in the source, until its first frame is there.
    begin: Option<Beginning>,
    input_base: Rational,
    log: LogTail,
    /// Packets that could not be decoded.
    pub(super) damaged: u64,
}

impl AudioConversion {
    /// Opens both sides; the second value is the stream that comes out.
    pub(super) fn open(
        stream: &InputStream,
        settings: &AudioSettings,
        log: &LogTail,
    ) -> Result<(Self, StreamParameters), AvError> {
        let decoder = Decoder::open(&stream.parameters, stream.time_base, log)?;
        let encoder = AudioEncoder::open(settings, &stream.parameters, log)?;
        let parameters = encoder.stream()?;
        let (log, input_base) = (log.clone(), stream.time_base);
        let (graph, clock, begin) = (None, None, None);
        Ok((Self { decoder, graph, encoder, clock, begin, input_base, log, damaged: 0 }, parameters))
    }

    /// Says where the stream begins, before anything of it is converted. What comes before it is heard is cut off: newer
    /// versions of libav declare such samples of more codecs, and not every decoder drops what is declared.
    pub(super) fn begins_at(&mut self, begin: Beginning) {
        self.begin = Some(begin);
    }

    pub(super) fn time_base(&self) -> Rational {
        self.encoder.time_base()
    }

    /// Converts all of a stream that has these packets.
    pub(super) fn convert_all(&mut self, packets: &[Packet]) -> Result<Vec<Packet>, EncoderError> {
        let mut converted = Vec::new();
        if packets.is_empty() {
            return Ok(converted);
        }
        for packet in packets.iter().map(Some).chain([None]) {
            converted.append(&mut self.convert(packet, 0)?);
        }
        Ok(converted)
    }

    /// Converts a packet whose time is to be `shift` nanoseconds later; `None` is the end.
    pub(super) fn convert(&mut self, packet: Option<&Packet>, shift: i64) -> Result<Vec<Packet>, EncoderError> {
        let mut packets = Vec::new();
        if self.decoder.send(packet).is_err() {
            // A decoder that is told twice that the stream has ended says so; everything else is damage.
            self.damaged += u64::from(packet.is_some());
            return Ok(packets);
        }
        loop {
            match self.decoder.receive() {
                Ok(Some(frame)) => self.take_frame(frame, shift, &mut packets)?,
                Ok(None) => break,
                Err(_) => {
                    self.damaged += 1;
                    break;
                }
            }
        }
        if packet.is_none() {
            self.close_graph(&mut packets)?;
            self.encode(None, &mut packets)?;
        }
        Ok(packets)
    }

    fn take_frame(&mut self, mut frame: AvFrame, shift: i64, packets: &mut Vec<Packet>) -> Result<(), EncoderError> {
        let Some(form) = AudioForm::of_frame(&mut frame) else {
            self.damaged += 1;
            return Ok(());
        };
        let begin = self.begin.take();
        if self.graph.as_ref().is_none_or(|(known, _)| *known != form) {
            let padded = begin.filter(|begin| begin.presented > begin.packet);
            self.change_form(&form, padded.map(|begin| begin.presented.saturating_add(shift)), packets)?;
        }
        let clock = self.clock.get_or_insert_with(|| SampleClock::new(form.sample_rate));
        if let Some(begin) = begin.filter(|_| frame.best_time().is_none()) {
            clock.start_before(0, Rational::ONE, begin.packet.saturating_add(shift), 0);
        }
        let time = clock.place(frame.best_time(), self.input_base, shift, frame.samples());
        frame.set_time(time.unwrap_or(0), 0);
        if let Some((_, graph)) = &mut self.graph {
            graph.push(&frame).map_err(|code| failed(code, &self.log))?;
        }
        self.drain_graph(packets)
    }

    /// The samples lie in another way from here on, or for the first time. Nothing before `heard_from` nanoseconds of the
    /// merged file is to be heard.
    fn change_form(
        &mut self,
        form: &AudioForm,
        heard_from: Option<i64>,
        packets: &mut Vec<Packet>,
    ) -> Result<(), EncoderError> {
        self.close_graph(packets)?;
        let clock = SampleClock::new(form.sample_rate);
        let heard_from = heard_from.map(|time| shifted(0, Rational::ONE, time, clock.period()));
        let graph = form.graph_to(&self.encoder, clock.period(), heard_from, &self.log)?;
        self.clock = Some(clock);
        self.graph = Some((form.clone(), graph));
        Ok(())
    }

    fn close_graph(&mut self, packets: &mut Vec<Packet>) -> Result<(), EncoderError> {
        if let Some((_, graph)) = &mut self.graph {
            graph.end().map_err(|code| failed(code, &self.log))?;
        }
        self.drain_graph(packets)?;
        self.graph = None;
        Ok(())
    }

    fn drain_graph(&mut self, packets: &mut Vec<Packet>) -> Result<(), EncoderError> {
        while let Some((_, graph)) = &mut self.graph
            && let Some(frame) = graph.pull().map_err(|code| failed(code, &self.log))?
        {
            self.encode(Some(&frame), packets)?;
        }
        Ok(())
    }

    fn encode(&mut self, frame: Option<&AvFrame>, packets: &mut Vec<Packet>) -> Result<(), EncoderError> {
        self.encoder.send(frame).map_err(|code| failed(code, &self.log))?;
        while let Some(packet) = self.encoder.receive().map_err(|code| failed(code, &self.log))? {
            packets.push(packet);
        }
        Ok(())
    }
}

fn failed(code: AvError, log: &LogTail) -> EncoderError {
    EncoderError { message: code.to_string(), log: log.take() }
}
