//! The form of an upload of photographs: pictures go to staging as they come, the other fields are read into what DICOM makes of them.

use std::collections::BTreeMap;
use std::path::Path;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt;
use multer::{Constraints, Field, Multipart, SizeLimit};
use overread_dicom::write::{ContentUids, EyeDevice, PhotographKind, Stamp, WrapHeader, anatomy};
use overread_domain::{Identified, PixelSpacing};
use overread_http::Problem;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;
use utoipa::ToSchema;

/// Pictures of one form.
const MOST_PICTURES: usize = 64;
/// Bytes of one picture.
const PICTURE_BYTES: u64 = 64 << 20;
/// Bytes of a whole form.
const FORM_BYTES: u64 = 1 << 30;
/// Bytes of a field that is no picture.
const TEXT_BYTES: u64 = 1024;
/// Bytes of a refused form that are still read, so that its sender hears why before it is cut off.
const REST_BYTES: u64 = 256 << 20;

/// The name of a picture's field.
const PICTURE: &str = "picture";
/// The other fields.
const TEXTS: [&str; 13] = [
    "kind",
    "device",
    "pixel_spacing_mm",
    "body_part",
    "laterality",
    "view",
    "patient_id",
    "patient_name",
    "patient_birth_date",
    "patient_sex",
    "accession_number",
    "study_description",
    "nothing_burned_in",
];

/// One study's photographs.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form; the fields are read one by one")]
pub(crate) struct PhotographForm {
    /// A JPEG, PNG, TIFF or WebP picture of up to 64 MiB. The field may be repeated, up to 64 times; the pictures are one series in that order.
    #[schema(min_items = 1, max_items = 64)]
    picture: Vec<PictureFile>,
    /// What the pictures show.
    kind: Kind,
    /// What took a picture of an eye; an external camera where it is not said.
    #[schema(nullable = false)]
    device: Option<Device>,
    /// Millimetres between pixels at the retina; for a fundus camera, which needs it, alone.
    #[schema(nullable = false, exclusive_minimum = 0)]
    pixel_spacing_mm: Option<f64>,
    /// A term of Body Part Examined (PS3.16 annex L), such as `HAND`. A picture of an eye needs none.
    #[schema(nullable = false)]
    body_part: Option<String>,
    /// The side of the body: `L`, `R`, `B` (both) or `U` (unpaired). A picture of an eye needs it, and is not unpaired; pictures of two eyes have one each, in
    /// the order of the pictures: `R,L`.
    #[schema(nullable = false, pattern = "^[LRBU](,[LRBU])*$")]
    laterality: Option<String>,
    /// View Position of a radiograph, such as `PA`.
    #[schema(nullable = false, max_length = 16)]
    view: Option<String>,
    /// Patient ID.
    #[schema(nullable = false, max_length = 64)]
    patient_id: Option<String>,
    /// Patient's Name, as DICOM writes it: `Family^Given`.
    #[schema(nullable = false, max_length = 194)]
    patient_name: Option<String>,
    /// Patient's Birth Date, `YYYYMMDD`.
    #[schema(nullable = false, pattern = "^[0-9]{8}$")]
    patient_birth_date: Option<String>,
    /// Patient's Sex.
    #[schema(nullable = false)]
    patient_sex: Option<Sex>,
    /// Accession Number.
    #[schema(nullable = false, max_length = 16)]
    accession_number: Option<String>,
    /// Study Description. No patient's name.
    #[schema(nullable = false, max_length = 64)]
    study_description: Option<String>,
    /// Whether somebody looked, and saw no text in the pictures that tells who the patient is (Burned In Annotation (0028,0301) NO). An image of an eye says
    /// YES otherwise, and is quarantined where no text is found to remove.
    #[schema(nullable = false)]
    nothing_burned_in: Option<bool>,
}

/// The bytes of a picture file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "it describes a field of the form")]
pub(crate) struct PictureFile(Vec<u8>);

/// What a picture shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// An eye: Ophthalmic Photography 8 Bit Image.
    Eye,
    /// Skin: VL Photographic Image.
    Skin,
    /// Something else that is seen: VL Photographic Image.
    Other,
    /// A radiograph that was exported, scanned or photographed: Computed Radiography Image.
    Radiograph,
}

/// What took a picture of an eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Device {
    /// A camera that sees the eye from outside.
    ExternalCamera,
    /// A slit lamp with a camera.
    SlitLamp,
    /// A fundus camera.
    FundusCamera,
}

/// Patient's Sex.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a field of the form")]
pub(crate) enum Sex {
    /// Male.
    M,
    /// Female.
    F,
    /// Other.
    O,
}

/// A picture that lies in staging.
pub(crate) struct Picture {
    pub(crate) file: TempPath,
    pub(crate) sha256: [u8; 32],
}

/// A form that was read. There is no `Debug`: it names a patient.
pub(crate) struct Form {
    /// In their order; at least one.
    pub(crate) pictures: Vec<Picture>,
    texts: BTreeMap<&'static str, String>,
}

/// Reads a form whose pictures go to `staging`. What was written there is gone again when the form is.
///
/// # Errors
/// 400, 408, 413, 415 or 422, and why. No value of a field is repeated.
pub(crate) async fn read(headers: &HeaderMap, body: Body, staging: &Path) -> Result<Form, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|_| {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send `Content-Type: multipart/form-data` with its boundary",
        )
    })?;
    let mut stream = body.into_data_stream();
    let limits = SizeLimit::new().whole_stream(FORM_BYTES).per_field(PICTURE_BYTES);
    let limits = TEXTS.into_iter().fold(limits, |limits, name| limits.for_field(name, TEXT_BYTES));
    let constraints = Constraints::new().size_limit(limits);
    let form = fields(Multipart::with_constraints(&mut stream, boundary, constraints), staging).await;
    if form.is_err() {
        let mut rest = 0;
        while let Some(Ok(chunk)) = stream.next().await {
            rest += chunk.len() as u64;
            if rest > REST_BYTES {
                break;
            }
        }
    }
    form
}

async fn fields(mut multipart: Multipart<'_>, staging: &Path) -> Result<Form, Problem> {
    let mut form = Form { pictures: Vec::new(), texts: BTreeMap::new() };
    while let Some(field) = multipart.next_field().await.map_err(|e| broken(&e))? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == PICTURE {
            if form.pictures.len() == MOST_PICTURES {
                let why = format!(
                    "a form holds at most {MOST_PICTURES} pictures; send the others as another study"
                );
                return Err(Problem::unprocessable(why));
            }
            form.pictures.push(spool(field, staging).await?);
            continue;
        }
        let known = TEXTS.into_iter().find(|known| *known == name).ok_or_else(|| {
            Problem::unprocessable(format!(
                "there is a field that is none of {PICTURE}, {}",
                TEXTS.join(", ")
            ))
        })?;
        let text = field.bytes().await.map_err(|e| broken(&e))?;
        let text = std::str::from_utf8(&text)
            .map_err(|_| Problem::unprocessable(format!("{known}: the text is not UTF-8")))?;
        if form.texts.insert(known, text.trim().to_owned()).is_some() {
            return Err(Problem::unprocessable(format!("{known}: given twice")));
        }
    }
    if form.pictures.is_empty() {
        return Err(Problem::unprocessable(format!("there is no picture; send each as a field `{PICTURE}`")));
    }
    Ok(form)
}

async fn spool(mut field: Field<'_>, staging: &Path) -> Result<Picture, Problem> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => full(),
        _ => Problem::internal(&e),
    };
    // Nothing of the sender's goes into the name.
    let file =
        tempfile::Builder::new().prefix("photo-").suffix(".part").tempfile_in(staging).map_err(failed)?;
    let (file, path) = file.into_parts();
    let (mut file, mut hash) = (tokio::fs::File::from_std(file), Sha256::new());
    while let Some(chunk) = field.chunk().await.map_err(|e| broken(&e))? {
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    Ok(Picture { file: path, sha256: hash.finalize().into() })
}

/// There is no room for more.
pub(crate) fn full() -> Problem {
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "the disk is full; it goes on by itself once there is space",
    )
}

fn broken(error: &multer::Error) -> Problem {
    match error {
        multer::Error::FieldSizeExceeded { limit, field_name } => {
            let name = TEXTS.into_iter().find(|t| Some(*t) == field_name.as_deref()).unwrap_or(PICTURE);
            let why = format!("{name}: more than the limit of {limit} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why)
        }
        multer::Error::StreamSizeExceeded { limit } => {
            let why = format!("the form is larger than the limit of {limit} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why)
        }
        multer::Error::StreamReadFailed(cause) => Problem::of_body(cause.as_ref()),
        _ => Problem::bad_request("the body is no whole multipart/form-data"),
    }
}

impl Form {
    /// What the pictures show, and the header that their DICOM images share. Study and series are functions of pictures and fields, so that a form
    /// that is sent again is the same study.
    ///
    /// # Errors
    /// 422 names the field.
    pub(crate) fn header(&self, stamp: Stamp) -> Result<(PhotographKind, WrapHeader), Problem> {
        let kind: Option<Kind> = self.term("kind", "eye, skin, other or radiograph")?;
        let kind =
            kind.ok_or_else(|| wrong("kind", "say what the pictures show: eye, skin, other or radiograph"))?;
        let one_of = |name, terms: &[&str]| match self.text(name) {
            Some(text) if !terms.contains(&text) => Err(wrong(name, &format!("one of {}", terms.join(", ")))),
            text => Ok(text.map(str::to_owned)),
        };
        let mut header = WrapHeader::new(self.uids(&[]), stamp);
        let sides = self.sides()?;
        header.laterality = sides.first().cloned();
        header.sex = one_of("patient_sex", &["M", "F", "O"])?;
        let parts: Vec<&str> = anatomy::terms().collect();
        header.body_part = one_of("body_part", &parts)?;
        header.region = header.body_part.as_deref().and_then(anatomy::region);
        let identified = |name| self.text(name).map(|text| Identified::new(text.to_owned()));
        header.patient_id = identified("patient_id");
        header.patient_name = identified("patient_name");
        header.birth_date = identified("patient_birth_date");
        header.accession = identified("accession_number");
        header.description = self.text("study_description").map(str::to_owned);
        header.view = self.text("view").map(str::to_owned);
        let looked = one_of("nothing_burned_in", &["true", "false"])?;
        header.burned_in = looked.filter(|answer| answer == "true").map(|_| false);
        if kind != Kind::Radiograph && header.view.is_some() {
            return Err(wrong("view", "for a radiograph alone"));
        }
        let kind = match (kind, self.device(kind)?) {
            (Kind::Radiograph, _) => PhotographKind::Radiograph,
            (Kind::Skin | Kind::Other, _) => PhotographKind::Photograph,
            (Kind::Eye, device) => PhotographKind::Eye(device),
        };
        if matches!(kind, PhotographKind::Eye(_)) {
            if sides.is_empty() || sides.iter().any(|side| side == "U") {
                return Err(wrong("laterality", "an eye needs L, R or B"));
            }
            if header.body_part.as_deref().is_some_and(|part| part != "EYE") {
                return Err(wrong("body_part", "an eye is EYE"));
            }
        } else if sides.windows(2).any(|pair| pair[0] != pair[1]) {
            // Of anything but an eye the side is the series', and all are one series.
            return Err(wrong(
                "laterality",
                "several sides for eyes alone; send each side as a study of its own",
            ));
        }
        Ok((kind, header))
    }

    /// The side of a picture.
    pub(crate) fn side(&self, index: usize) -> Option<String> {
        let sides = self.sides().ok()?;
        sides.get(index).or(sides.first()).cloned()
    }

    /// One side for all pictures, one for each, or none.
    fn sides(&self) -> Result<Vec<String>, Problem> {
        const TERMS: [&str; 4] = ["L", "R", "B", "U"];
        let Some(text) = self.text("laterality") else { return Ok(vec![]) };
        let sides: Vec<String> = text.split(',').map(|side| side.trim().to_owned()).collect();
        if !sides.iter().all(|side| TERMS.contains(&side.as_str())) {
            return Err(wrong("laterality", &format!("one of {}", TERMS.join(", "))));
        }
        if sides.len() > 1 && sides.len() != self.pictures.len() {
            return Err(wrong(
                "laterality",
                "one side for all pictures, or one for each in their order: R,L",
            ));
        }
        Ok(sides)
    }

    fn device(&self, kind: Kind) -> Result<EyeDevice, Problem> {
        let device: Option<Device> = self.term("device", "external-camera, slit-lamp or fundus-camera")?;
        if device.is_some() && kind != Kind::Eye {
            return Err(wrong("device", "for an eye alone"));
        }
        let spacing = match (device, self.text("pixel_spacing_mm")) {
            (Some(Device::FundusCamera), Some(text)) => text,
            (Some(Device::FundusCamera), None) => {
                return Err(wrong(
                    "pixel_spacing_mm",
                    "an image of a fundus camera must say how far apart pixels are",
                ));
            }
            (_, Some(_)) => return Err(wrong("pixel_spacing_mm", "for a fundus camera alone")),
            (Some(Device::SlitLamp), None) => return Ok(EyeDevice::SlitLamp),
            (_, None) => return Ok(EyeDevice::ExternalCamera),
        };
        let mm = spacing.parse().ok().filter(|mm: &f64| *mm > 0.0 && *mm < 10.0);
        let mm = mm.ok_or_else(|| wrong("pixel_spacing_mm", "millimetres above 0 and below 10"))?;
        Ok(EyeDevice::FundusCamera(PixelSpacing { row_mm: mm, column_mm: mm }))
    }

    /// The UIDs of the picture at a position, given as its bytes; of none for those of the study alone.
    pub(crate) fn uids(&self, position: &[u8]) -> ContentUids {
        let mut set = Sha256::new();
        for (name, text) in &self.texts {
            for part in [name.as_bytes(), text.as_bytes()] {
                set.update((part.len() as u64).to_be_bytes());
                set.update(part);
            }
        }
        for picture in &self.pictures {
            set.update(picture.sha256);
        }
        ContentUids::of_set(&set.finalize(), position)
    }

    /// A field that is not empty.
    fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn term<'a, T: Deserialize<'a>>(&'a self, name: &'static str, terms: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let term = T::deserialize(IntoDeserializer::<serde::de::value::Error>::into_deserializer(text));
        term.map(Some).map_err(|_| wrong(name, terms))
    }
}

fn wrong(name: &str, wanted: &str) -> Problem {
    Problem::unprocessable(format!("{name}: {wanted}"))
}
