//! The child: reads frames from its standard input, decodes them, writes samples to its standard output.
//!
//! It has no keys, no environment and no files; memory and time are limited before it reads a frame.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use bytemuck::cast_slice;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::wire::{Answer, ChildCodec, Greeting, Question};

/// Decodes frames for a codec host until it closes the pipe: what a child process runs, and nothing else.
pub fn codec_worker_main() -> ExitCode {
    match pipes().and_then(|(mut input, mut output)| serve(&mut input, &mut output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

/// The pipes themselves: standard output would look for line ends in megabytes of samples.
pub(crate) fn pipes() -> io::Result<(File, File)> {
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((input.into(), output.into()))
}

fn serve(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let greeting = Greeting::read(input)?;
    limit(Resource::As, greeting.memory_bytes)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Nproc, 0)?;
    limit(Resource::Nofile, 3)?;
    let mut bytes = Vec::new();
    while let Some(question) = Question::read(input)? {
        allow_cpu(greeting.cpu_seconds)?;
        if question.bytes > greeting.memory_bytes {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the frame is larger than the memory limit",
            ));
        }
        bytes.resize(question.bytes as usize, 0);
        input.read_exact(&mut bytes)?;
        let decoded = match question.codec {
            ChildCodec::Jpeg2000 => jpeg2000(&bytes, u32::from(question.reduce)),
            ChildCodec::JpegLs { interleaved } => jpeg_ls(&bytes, interleaved),
            ChildCodec::Jpeg8 => jpeg8(&bytes, u32::from(question.reduce)),
            ChildCodec::Jpeg12 => jpeg12(&bytes),
        };
        match decoded {
            Ok(frame) => frame.write(output)?,
            Err(why) => refuse(&why, output)?,
        }
        output.flush()?;
    }
    Ok(())
}

pub(crate) fn limit(resource: Resource, most: u64) -> io::Result<()> {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    Ok(())
}

/// The limit on processor time counts from the start of the process, so it is moved on for each frame.
pub(crate) fn allow_cpu(seconds: u64) -> io::Result<()> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime).tv_sec.unsigned_abs();
    setrlimit(Resource::Cpu, Rlimit { current: Some(used + seconds + 1), maximum: None })?;
    Ok(())
}

struct Frame {
    columns: u32,
    rows: u32,
    components: u16,
    samples: Words,
}

enum Words {
    One(Vec<u8>),
    Two(Vec<u16>),
    Four(Vec<u32>),
}

impl Frame {
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let (width, bytes): (u8, &[u8]) = match &self.samples {
            Words::One(v) => (1, v),
            Words::Two(v) => (2, cast_slice(v)),
            Words::Four(v) => (4, cast_slice(v)),
        };
        let Self { columns, rows, components, .. } = *self;
        Answer { ok: true, columns, rows, components, width, bytes: bytes.len() as u64 }.write(to)?;
        to.write_all(bytes)
    }
}

pub(crate) fn refuse(why: &str, to: &mut impl Write) -> io::Result<()> {
    let text: String = why.chars().filter(|c| !c.is_control()).take(300).collect();
    let bytes = text.len() as u64;
    Answer { ok: false, columns: 0, rows: 0, components: 0, width: 1, bytes }.write(to)?;
    to.write_all(text.as_bytes())
}

fn jpeg2000(bytes: &[u8], reduce: u32) -> Result<Frame, String> {
    let parameters = jpeg2k::DecodeParameters::new().reduce(reduce).strict(true).ignore_pclr_cmap_cdef();
    let image = jpeg2k::Image::from_bytes_with(bytes, parameters).map_err(|e| e.to_string())?;
    let components = image.components();
    let first = components.first().ok_or("the codestream has no components")?;
    let (columns, rows) = (first.width(), first.height());
    if components.iter().any(|c| c.width() != columns || c.height() != rows) {
        return Err("components differ in size".to_owned());
    }
    let precision = components.iter().map(jpeg2k::ImageComponent::precision).max().unwrap_or(0);
    let planes: Vec<&[i32]> = components.iter().map(jpeg2k::ImageComponent::data).collect();
    let samples = match precision {
        0..=8 => Words::One(weave(&planes, |x| x as u8)),
        9..=16 => Words::Two(weave(&planes, |x| x as u16)),
        _ => Words::Four(weave(&planes, |x| x as u32)),
    };
    Ok(Frame { columns, rows, components: components.len() as u16, samples })
}

/// Planes → interleaved samples in a narrower type.
fn weave<T>(planes: &[&[i32]], narrow: impl Fn(i32) -> T) -> Vec<T> {
    match planes {
        [one] => one.iter().map(|x| narrow(*x)).collect(),
        [a, b, c] => {
            let mut out = Vec::with_capacity(a.len() * 3);
            for ((x, y), z) in a.iter().zip(*b).zip(*c) {
                out.extend([narrow(*x), narrow(*y), narrow(*z)]);
            }
            out
        }
        many => {
            let n = many.first().map_or(0, |p| p.len());
            (0..n).flat_map(|i| many.iter().map(move |p| p[i])).map(narrow).collect()
        }
    }
}

fn jpeg_ls(bytes: &[u8], interleaved: bool) -> Result<Frame, String> {
    let mut codec = charls::CharLS::default();
    let info = codec.get_frame_info(bytes).map_err(|e| e.to_string())?;
    let mut codec = charls::CharLS::default();
    let decoded = codec.decode(bytes).map_err(|e| e.to_string())?;
    let components = u16::try_from(info.component_count).map_err(|e| e.to_string())?;
    let planar = !interleaved && components == 3;
    let samples = if info.bits_per_sample <= 8 {
        Words::One(if planar { crate::read::native::interleave(&decoded) } else { decoded })
    } else {
        let words: Vec<u16> = decoded.chunks_exact(2).map(|p| u16::from_ne_bytes([p[0], p[1]])).collect();
        Words::Two(if planar { crate::read::native::interleave(&words) } else { words })
    };
    Ok(Frame { columns: info.width, rows: info.height, components, samples })
}

fn jpeg8(bytes: &[u8], reduce: u32) -> Result<Frame, String> {
    let mut decoder = libjpeg_turbo_rs::Decoder::new(bytes).map_err(|e| e.to_string())?;
    let scale = libjpeg_turbo_rs::ScalingFactor::try_new(1, 1 << reduce.min(3)).map_err(|e| e.to_string())?;
    decoder.set_scale(scale);
    let image = decoder.decode_image().map_err(|e| e.to_string())?;
    // Stray bytes between markers are no warning; grey where pixels should be is, and is refused.
    if let Some(warning) = image.warnings.first() {
        return Err(format!("the stream is damaged: {warning:?}"));
    }
    let size = |n: usize| u32::try_from(n).map_err(|e| e.to_string());
    let components = image.pixel_format.bytes_per_pixel() as u16;
    Ok(Frame {
        columns: size(image.width)?,
        rows: size(image.height)?,
        components,
        samples: Words::One(image.data),
    })
}

fn jpeg12(bytes: &[u8]) -> Result<Frame, String> {
    let image = libjpeg_turbo_rs::decompress_12bit(bytes).map_err(|e| e.to_string())?;
    let size = |n: usize| u32::try_from(n).map_err(|e| e.to_string());
    Ok(Frame {
        columns: size(image.width)?,
        rows: size(image.height)?,
        components: image.num_components as u16,
        samples: Words::Two(bytemuck::allocation::cast_vec(image.data)),
    })
}
