//! Images on their way: de-identified, or wrapped as DICOM.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::numbers::{micrometres, millimetres};

/// De-identify DICOM files by a profile: headers, and text that is burned into pixels; what goes out is looked at a second time.
#[derive(Args)]
#[command(after_help = "Examples:
  overread deid studies/ --out shared/ --report report.json
  overread deid studies/ --profile radiology --key pseudonym.key --out shared/

Objects are written as STUDY/SERIES/INSTANCE.dcm under pseudonymous UIDs. What the second looks find in the bytes or read in the
pixels, and pixels that cannot be cleaned, are quarantined: nothing of them is written, and the report says why. Removing text needs
ONNX Runtime, reading pixels again needs Tesseract.

Exit status: 0 every file was written; 1 nothing could be done; 2 the command line is wrong;
3 some files were quarantined or failed, the others were written.")]
pub struct DeidArgs {
    /// DICOM files and folders of them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// A built-in profile (strict, radiology, ct-mr-head, pathology, ophthalmology, dermatology, cardiology) or a TOML file.
    #[arg(long, default_value = "strict", value_name = "PROFILE")]
    pub profile: String,
    /// Folder for the de-identified objects.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Write what was done with each file into this file. It holds the originals' paths: it is for the site alone.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The secret that pseudonyms and moved dates hang on; made where it is missing. Default: another one in each run, so
    /// that no later run can be linked to this one.
    #[arg(long, env = "OVERREAD_DEID_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Text in the pixels of these files has been looked for and removed already: they say so, and nothing looks at them.
    #[arg(long)]
    pub pixels_cleaned: bool,
    /// Do not have Tesseract read what goes out.
    #[arg(long)]
    pub no_second_look: bool,
    /// Threads. Default: as many as there are cores.
    #[arg(long, value_name = "N", env = "OVERREAD_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
}

/// Wrap pictures as DICOM images without any patient. A radiograph becomes a DX image where the spacing at the detector is known, else a CR
/// image, which asks for none; a slide of a scanner's own format becomes a whole slide of several resolutions, JPEG of quality 90, without its label and
/// overview and without anything that the file says in words.
#[derive(Args)]
pub struct WrapArgs {
    /// The pictures (JPEG, PNG, TIFF, WebP) or slides (SVS, NDPI, MRXS, SCN, tiled TIFF). Several become images of one study: two eyes, three
    /// photographs of one lesion, the slides of one block.
    #[arg(required = true, value_name = "PICTURE")]
    pub pictures: Vec<PathBuf>,
    /// The DICOM file to write; of several pictures the folder for `1.dcm`, `2.dcm` and so on. Of a slide the folder for its levels, `1.dcm` the
    /// finest; of several slides the folder for such folders, `1`, `2` and so on.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// What the pictures show; a radiograph is turned to grey.
    #[arg(long, value_enum, default_value = "radiograph")]
    pub kind: PictureKind,
    /// The side that the pictures show: one for all, or one each in their order, such as R,L. A picture of an eye needs it.
    #[arg(long, value_enum, value_delimiter = ',', ignore_case = true, value_name = "SIDE")]
    pub laterality: Vec<PictureSide>,
    /// Body Part Examined (0018,0015); CHEST of a radiograph where it is not said.
    #[arg(long, value_name = "PART")]
    pub body_part: Option<String>,
    /// View Position (0018,5101), such as PA.
    #[arg(long, value_name = "VIEW")]
    pub view: Option<String>,
    /// You looked: no text in the pixels tells who the patient is (Burned In Annotation (0028,0301) NO). A DX image says YES otherwise, and an edge
    /// quarantines it where it finds no text to remove.
    #[arg(long)]
    pub nothing_burned_in: bool,
    /// Imager Pixel Spacing (0018,1164): millimetres between pixels at the detector. Makes it a DX image.
    #[arg(long, value_name = "MM", value_parser = millimetres)]
    pub imager_pixel_spacing: Option<f64>,
    /// Micrometres between pixels at the full resolution of a slide that does not tell it, or tells it wrongly.
    #[arg(long, value_name = "UM", value_parser = micrometres)]
    pub microns_per_pixel: Option<f64>,
}

/// What a picture shows.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PictureKind {
    /// A radiograph that was exported, scanned or photographed
    Radiograph,
    /// An eye, taken from outside
    Eye,
    /// Skin or anything else that is seen
    Skin,
    /// A whole slide in the format of a scanner's maker
    Slide,
}

/// A side of the body.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PictureSide {
    /// Right
    R,
    /// Left
    L,
}
