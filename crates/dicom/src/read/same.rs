//! Whether two files hold the same object, whoever wrote them down.

use std::fs::File;
use std::path::Path;

use super::meta::{self, Start};
use super::{ReadError, source::Source};

/// Bytes that are compared at once.
const CHUNK: usize = 256 * 1024;

/// Whether two DICOM files hold the same data set in the same transfer syntax, byte for byte. What stands before it is not compared: preamble
/// and file meta group (PS3.10 §7.1) belong to whoever wrote the file, not to the object.
///
/// # Errors
/// [`ReadError`]: one of the files cannot be read, or is not DICOM.
pub fn same_data_set(one: &Path, other: &Path) -> Result<bool, ReadError> {
    let (one, one_start, one_bytes) = begin(one)?;
    let (other, other_start, other_bytes) = begin(other)?;
    if one_start.syntax.uid != other_start.syntax.uid || one_bytes != other_bytes {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut done = 0;
    loop {
        let n = read(&one, one_start.data_set + done, &mut a)?;
        if n != read(&other, other_start.data_set + done, &mut b)? || a[..n] != b[..n] {
            return Ok(false);
        }
        if n < CHUNK {
            return Ok(true);
        }
        done += n as u64;
    }
}

/// A file, how it starts, and the bytes of its data set.
fn begin(path: &Path) -> Result<(Source, Start, u64), ReadError> {
    let io = |source| ReadError::Io { doing: "open the file", source };
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let source = Source::File { file, len };
    let start = meta::start(&source)?.ok_or(ReadError::NotAnImage)?;
    let bytes = len.saturating_sub(start.data_set);
    Ok((source, start, bytes))
}

fn read(source: &Source, at: u64, out: &mut [u8]) -> Result<usize, ReadError> {
    source.read_at(at, out).map_err(|source| ReadError::Io { doing: "read the data set", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Explicit VR Little Endian with an implementation's name in the meta group, and a data set of some bytes.
    fn file(folder: &Path, name: &str, syntax: &[u8], implementation: &[u8], last: u8) -> std::path::PathBuf {
        let mut bytes = vec![0; 128];
        bytes.extend_from_slice(b"DICM");
        let mut put = |group: u16, element: u16, vr: &[u8; 2], value: &[u8]| {
            bytes.extend_from_slice(&[group.to_le_bytes(), element.to_le_bytes()].concat());
            bytes.extend_from_slice(vr);
            bytes.extend_from_slice(&(value.len() as u16).to_le_bytes());
            bytes.extend_from_slice(value);
        };
        put(2, 0x10, b"UI", syntax);
        put(2, 0x13, b"SH", implementation);
        put(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.7\0");
        put(0x10, 0x4000, b"LT", &[b"some words ".as_slice(), &[last]].concat());
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn the_meta_group_may_differ_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let explicit = b"1.2.840.10008.1.2.1\0";
        let one = file(folder, "one", explicit, b"ONE ", b'a');
        assert!(same_data_set(&one, &one).unwrap());
        assert!(same_data_set(&one, &file(folder, "meta", explicit, b"ANOTHER ", b'a')).unwrap());
        assert!(!same_data_set(&one, &file(folder, "last", explicit, b"ONE ", b'b')).unwrap());
        let other = file(folder, "syntax", b"1.2.840.10008.1.2.4.90\0\0", b"ONE ", b'a');
        assert!(!same_data_set(&one, &other).unwrap(), "another transfer syntax");
        std::fs::write(folder.join("none"), b"no DICOM").unwrap();
        assert!(same_data_set(&one, &folder.join("none")).is_err());
    }
}
