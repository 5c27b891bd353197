//! What host and child say to each other over the pipes: a greeting with limits, then questions and answers.
//!
//! All numbers are little endian. The host believes nothing of an answer that it did not ask for.

use std::io::{self, Read, Write};

/// Which codec of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildCodec {
    Jpeg2000,
    JpegLs { interleaved: bool },
    Jpeg8,
    Jpeg12,
}

impl ChildCodec {
    const fn code(self) -> u8 {
        match self {
            Self::Jpeg2000 => 1,
            Self::JpegLs { interleaved: true } => 2,
            Self::JpegLs { interleaved: false } => 3,
            Self::Jpeg8 => 4,
            Self::Jpeg12 => 5,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Jpeg2000),
            2 => Some(Self::JpegLs { interleaved: true }),
            3 => Some(Self::JpegLs { interleaved: false }),
            4 => Some(Self::Jpeg8),
            5 => Some(Self::Jpeg12),
            _ => None,
        }
    }
}

/// The limits that the child sets on itself before it reads any image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_seconds: u64,
}

const MAGIC: [u8; 8] = *b"OVRCODC1";

impl Greeting {
    pub(crate) fn write(self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&MAGIC)?;
        to.write_all(&self.memory_bytes.to_le_bytes())?;
        to.write_all(&self.cpu_seconds.to_le_bytes())
    }

    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        let magic: [u8; 8] = array(from)?;
        if magic != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not started by a codec host"));
        }
        Ok(Self {
            memory_bytes: u64::from_le_bytes(array(from)?),
            cpu_seconds: u64::from_le_bytes(array(from)?),
        })
    }
}

/// A frame to decode; its bytes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) codec: ChildCodec,
    pub(crate) reduce: u8,
    pub(crate) bytes: u64,
}

impl Question {
    pub(crate) fn write(self, to: &mut impl Write) -> io::Result<()> {
        let mut head = [0; 10];
        head[0] = self.codec.code();
        head[1] = self.reduce;
        head[2..].copy_from_slice(&self.bytes.to_le_bytes());
        to.write_all(&head)
    }

    /// The next question; none when the host has closed the pipe.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut code = [0];
        if from.read(&mut code)? == 0 {
            return Ok(None);
        }
        let [reduce]: [u8; 1] = array(from)?;
        let bytes = u64::from_le_bytes(array(from)?);
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "no such codec");
        Ok(Some(Self { codec: ChildCodec::of(code[0]).ok_or_else(wrong)?, reduce, bytes }))
    }
}

/// What precedes the samples of an answer, or the text of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The frame was decoded; else `bytes` of text say why not.
    pub(crate) ok: bool,
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) components: u16,
    /// Bytes of a sample: 1, 2 or 4.
    pub(crate) width: u8,
    pub(crate) bytes: u64,
}

impl Answer {
    pub(crate) fn write(self, to: &mut impl Write) -> io::Result<()> {
        let mut head = [0; 20];
        head[0] = u8::from(self.ok);
        head[1] = self.width;
        head[2..4].copy_from_slice(&self.components.to_le_bytes());
        head[4..8].copy_from_slice(&self.columns.to_le_bytes());
        head[8..12].copy_from_slice(&self.rows.to_le_bytes());
        head[12..].copy_from_slice(&self.bytes.to_le_bytes());
        to.write_all(&head)
    }

    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        let [ok, width]: [u8; 2] = array(from)?;
        Ok(Self {
            ok: ok == 1,
            width,
            components: u16::from_le_bytes(array(from)?),
            columns: u32::from_le_bytes(array(from)?),
            rows: u32::from_le_bytes(array(from)?),
            bytes: u64::from_le_bytes(array(from)?),
        })
    }
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut out = [0; N];
    from.read_exact(&mut out)?;
    Ok(out)
}
