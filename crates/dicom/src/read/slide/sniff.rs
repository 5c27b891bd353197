//! Which files are slides of a scanner's maker: told by name and by how a TIFF is laid out, before any library looks at them.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use tiff::decoder::{ChunkType, Decoder, Limits};
use tiff::tags::Tag;

use crate::read::Header;

/// Extensions of the formats that OpenSlide reads and nothing else has.
const SLIDES: [&str; 9] = ["svs", "ndpi", "mrxs", "scn", "vms", "vmu", "bif", "svslide", "czi"];
/// A tiled TIFF with a side longer than this is a slide; a smaller one may be a photograph.
const PHOTOGRAPH: u32 = 8192;
/// A key file has some hundred lines.
const KEYS: u64 = 1 << 20;
/// Extensions of the files that it lists.
const LISTED: [&str; 4] = ["jpg", "jpeg", "opt", "ngr"];

/// Whether a file is a slide.
pub(crate) fn is_slide(path: &Path, head: &[u8]) -> bool {
    if SLIDES.contains(&extension(path).as_str()) {
        return true;
    }
    let big = matches!(head, [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..]);
    let tiff = big || matches!(head, [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..]);
    tiff && layout(path).is_some_and(|(size, tiled)| tiled && (big || size.0.max(size.1) > PHOTOGRAPH))
}

/// Files and folders that hold the rest of a slide of several files: the folder of its name (MRXS), or the pictures that it lists (VMS, VMU).
/// They are no images for themselves, though they may look like some. A name alone hides nothing else: the folder must be a slide's, and what
/// is listed must have the name of what these formats list. Not all of it need be there.
pub fn slide_parts(slide: &Path) -> Vec<PathBuf> {
    match extension(slide).as_str() {
        "mrxs" => {
            let folder = slide.with_extension("");
            if folder.join("Slidedat.ini").is_file() { vec![folder] } else { Vec::new() }
        }
        "vms" | "vmu" => listed(slide).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The files that Hamamatsu's key file lists, `key=name` line by line.
fn listed(keys: &Path) -> Option<Vec<PathBuf>> {
    let mut text = Vec::new();
    File::open(keys).ok()?.take(KEYS).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().filter_map(|line| Some(line.split_once('=')?.1.trim()));
    let plain = |name: &&str| !name.contains(['/', '\\']);
    let files = names.filter(plain).map(|name| keys.with_file_name(name));
    Some(files.filter(|path| LISTED.contains(&extension(path).as_str())).collect())
}

/// Extension in lower case; empty where there is none.
fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// What is known of a slide before it is opened. Its size is that of a TIFF's first picture, 0 for other formats.
pub(crate) fn header(path: &Path) -> Header {
    let ((columns, rows), _) = layout(path).unwrap_or(((0, 0), false));
    let mut header = Header::of_photograph("slide", columns, rows, 3, 8);
    header.modality = Some("SM".to_owned());
    header
}

/// Lossy Image Compression Method (0028,2114) and ratio of a TIFF's first picture; none where it lost nothing, or where it is not known.
pub(super) fn lossy_compression(path: &Path) -> Option<(&'static str, f64)> {
    let mut decoder = decoder(path)?;
    let method = match decoder.get_tag_u32(Tag::Compression).ok()? {
        7 => "ISO_10918_1",
        // Aperio's two numbers and the registered one, of JPEG 2000.
        33_003 | 33_005 | 34_712 => "ISO_15444_1",
        _ => return None,
    };
    let bytes: u64 = decoder.get_tag_u64_vec(Tag::TileByteCounts).ok()?.iter().sum();
    let (columns, rows) = decoder.dimensions().ok()?;
    let samples = u64::from(columns) * u64::from(rows) * 3;
    (bytes > 0 && bytes < samples).then(|| (method, samples as f64 / bytes as f64))
}

/// Size of a TIFF's first picture and whether it lies in tiles.
fn layout(path: &Path) -> Option<((u32, u32), bool)> {
    let mut decoder = decoder(path)?;
    Some((decoder.dimensions().ok()?, decoder.get_chunk_type() == ChunkType::Tile))
}

/// Reads a TIFF's directories.
fn decoder(path: &Path) -> Option<Decoder<BufReader<File>>> {
    // A directory that lies of its size must not take memory; the pixels are not asked for.
    let mut limits = Limits::default();
    limits.decoding_buffer_size = 1 << 20;
    limits.ifd_value_size = 64 << 20;
    limits.intermediate_buffer_size = 1 << 20;
    let file = BufReader::new(File::open(path).ok()?);
    Some(Decoder::new(file).ok()?.with_limits(limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slide_of_several_files_names_its_parts() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let keys = "[Virtual Microscope Specimen]\nNoLayers=1\nImageFile=a.jpg\r\nImageFile(1,0)=a(1,0).jpg\nMapFile=../b.jpg\nMacroImage=\n\
            OptimisationFile=ct.dcm\n";
        std::fs::write(at("a.vms"), keys).unwrap();
        assert_eq!(slide_parts(&at("a.vms")), [at("a.jpg"), at("a(1,0).jpg")]);
        std::fs::create_dir(at("b.x")).unwrap();
        assert_eq!(slide_parts(&at("b.x.MRXS")), Vec::<PathBuf>::new(), "any folder of that name");
        std::fs::write(at("b.x").join("Slidedat.ini"), "").unwrap();
        assert_eq!(slide_parts(&at("b.x.MRXS")), [at("b.x")]);
        assert_eq!(slide_parts(&at("c.svs")), Vec::<PathBuf>::new());
        assert_eq!(slide_parts(&at("gone.vms")), Vec::<PathBuf>::new());
    }
}
