//! Studies among files: DICOM files by their Study Instance UID, each photograph its own study.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use overread_dicom::read::{self, Header, Limits, Opened, is_whole_slide, slide_parts};
use overread_domain::{PlaneGeometry, Sex, Uid, sentence};
use sha2::{Digest, Sha256};

/// One image file of a study, and what its header says.
#[derive(Clone, Debug)]
pub struct ImageFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What messages call it: its path, or its position where a path must not be told.
    pub name: String,
    /// Its place among the files that were given for the study, from 0.
    pub position: usize,
    /// What it says of itself; holds no identity.
    pub header: Header,
    /// Where each frame lies in the patient, up to the first of which the file does not tell it.
    pub slices: Vec<PlaneGeometry>,
    /// A photograph: neither a DICOM file nor a slide.
    pub photograph: bool,
    /// A whole slide, or a level of one.
    pub slide: bool,
}

/// A study as it was found, or a file that is none.
#[derive(Clone, Debug)]
pub struct Study {
    /// Its UID; of a photograph, a function of its content.
    pub uid: Option<Uid>,
    /// Its images, in input order.
    pub images: Vec<ImageFile>,
    /// Why there is nothing to read, with the file's path.
    pub unreadable: Option<(PathBuf, String)>,
    /// Files that belong to it and cannot be opened: what they are called and why. What they show is not ruled out.
    pub lost: Vec<String>,
}

/// What is known of a study apart from its files. It fills in what the files leave open; an age is taken as given, because
/// pseudonymous files hold none.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The patient's age at the study, in years.
    pub age_years: Option<f64>,
    /// The patient's sex, where a file does not tell it.
    pub sex: Option<Sex>,
    /// View Position (0018,5101), where a file does not tell it.
    pub view: Option<String>,
    /// Image Laterality (0020,0062), where a file does not tell it.
    pub laterality: Option<String>,
}

impl Study {
    /// The study of known files, in their order. Messages call them `image 1`, `image 2` and so on: where they lie is the caller's
    /// matter.
    pub fn of_files(uid: Uid, files: &[PathBuf], overrides: &Overrides, limits: &Limits) -> Self {
        let mut study = Self { uid: Some(uid), images: vec![], unreadable: None, lost: vec![] };
        for (index, path) in files.iter().enumerate() {
            let name = format!("image {}", index + 1);
            match read::open(path, limits) {
                Ok(opened) => {
                    let mut header = opened.header().clone();
                    overrides.fill(&mut header);
                    let (photograph, slide) = kind(&opened);
                    study.images.push(ImageFile {
                        path: path.clone(),
                        name,
                        position: index,
                        header,
                        slices: slices(&opened),
                        photograph,
                        slide,
                    });
                }
                Err(e) => study.lost.push(format!("{name}: {}", sentence(&e))),
            }
        }
        study
    }

    /// The path that names it: that of its first file.
    pub fn source(&self) -> &Path {
        match (&self.unreadable, self.images.first()) {
            (Some((path, _)), _) => path,
            (None, Some(image)) => &image.path,
            (None, None) => Path::new(""),
        }
    }
}

impl Overrides {
    fn fill(&self, header: &mut Header) {
        header.patient_age_years = self.age_years.or(header.patient_age_years);
        header.patient_sex = header.patient_sex.or(self.sex);
        header.view_position = header.view_position.take().or_else(|| self.view.clone());
        header.laterality = header.laterality.take().or_else(|| self.laterality.clone());
    }
}

/// Finds the studies in files and folders. Files in a folder are taken in the order of their names; hidden ones,
/// DICOMDIR and files that are clearly no images (by their name) are left out, named ones never are.
/// A file that cannot be opened becomes a study of its own that tells why.
pub fn find_studies(paths: &[PathBuf], limits: &Limits) -> Vec<Study> {
    let mut studies: Vec<Study> = Vec::new();
    let mut by_uid: HashMap<Uid, usize> = HashMap::new();
    for path in files(paths) {
        let path = match path {
            Ok(path) => path,
            Err(unreadable) => {
                studies.push(Study { uid: None, images: vec![], unreadable: Some(unreadable), lost: vec![] });
                continue;
            }
        };
        match open(&path, limits) {
            Err(why) => {
                studies.push(Study {
                    uid: None,
                    images: vec![],
                    unreadable: Some((path, why)),
                    lost: vec![],
                });
            }
            Ok((uid, image)) => match uid.as_ref().and_then(|uid| by_uid.get(uid)) {
                Some(known) => {
                    let images = &mut studies[*known].images;
                    let position = images.len();
                    images.push(ImageFile { position, ..image });
                }
                None => {
                    if let Some(uid) = &uid {
                        by_uid.insert(uid.clone(), studies.len());
                    }
                    studies.push(Study { uid, images: vec![image], unreadable: None, lost: vec![] });
                }
            },
        }
    }
    studies
}

fn open(path: &Path, limits: &Limits) -> Result<(Option<Uid>, ImageFile), String> {
    let opened = read::open(path, limits).map_err(|e| sentence(&e))?;
    let header = opened.header().clone();
    let (photograph, slide) = kind(&opened);
    let uid = match &opened {
        Opened::Dicom(_) => header.study_instance_uid.clone(),
        Opened::Photograph(_) => Some(photograph_uid(path)?),
        // Gigabytes are not read to name it.
        Opened::Slide(_) => Some(uid_of_path(path)),
    };
    let name = path.display().to_string();
    let slices = slices(&opened);
    Ok((uid, ImageFile { path: path.to_owned(), name, position: 0, header, slices, photograph, slide }))
}

/// Whether a file is a photograph, and whether it is a slide.
fn kind(opened: &Opened) -> (bool, bool) {
    match opened {
        Opened::Photograph(_) => (true, false),
        Opened::Slide(_) => (false, true),
        Opened::Dicom(file) => (false, is_whole_slide(file.header())),
    }
}

fn slices(opened: &Opened) -> Vec<PlaneGeometry> {
    (0..opened.frames()).map_while(|frame| opened.geometry(frame)).collect()
}

/// A photograph has no Study Instance UID of its own: it gets one from its content and its name, so that the same
/// file is the same study and two copies in a folder stay two.
fn photograph_uid(path: &Path) -> Result<Uid, String> {
    let mut hash = Sha256::new();
    hash.update(std::fs::read(path).map_err(|e| e.to_string())?);
    hash.update(path.as_os_str().as_encoded_bytes());
    Ok(uid_of(hash))
}

/// The UID of a study whose file has none that is valid.
pub(crate) fn uid_of_path(path: &Path) -> Uid {
    uid_of(Sha256::new_with_prefix(path.as_os_str().as_encoded_bytes()))
}

fn uid_of(hash: Sha256) -> Uid {
    let digest = hash.finalize();
    let mut bits = [0; 16];
    bits.copy_from_slice(&digest[..16]);
    Uid::from_hash(bits)
}

/// A file, or a folder that cannot be read and why.
pub type Found = Result<PathBuf, (PathBuf, String)>;

/// The files of paths and of the folders among them, in the order of their names; what is no image by its name is left out
/// of folders. What is a part of a slide beside it is left out everywhere.
pub fn files(paths: &[PathBuf]) -> Vec<Found> {
    let mut found = Vec::new();
    let parts = parts_of_slides(paths);
    for path in paths.iter().filter(|path| !parts.contains(*path)) {
        if path.is_dir() { walk(path, &mut found) } else { found.push(Ok(path.clone())) }
    }
    found
}

fn walk(folder: &Path, found: &mut Vec<Found>) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) => {
            found.push(Err((folder.to_owned(), format!("the folder cannot be read: {e}"))));
            return;
        }
    };
    let mut entries: Vec<PathBuf> = entries.filter_map(Result::ok).map(|e| e.path()).collect();
    entries.sort();
    let parts = parts_of_slides(&entries);
    for path in entries {
        if parts.contains(&path) {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found);
        } else if !path.is_dir() && !is_beside_the_point(&path) {
            found.push(Ok(path));
        }
    }
}

fn parts_of_slides(paths: &[PathBuf]) -> HashSet<PathBuf> {
    paths.iter().flat_map(|path| slide_parts(path)).collect()
}

fn is_beside_the_point(path: &Path) -> bool {
    const NOT_IMAGES: [&str; 17] = [
        "csv", "tsv", "xlsx", "json", "jsonl", "yaml", "yml", "txt", "log", "md", "html", "xml", "pdf",
        "zip", "gz", "py", "toml",
    ];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.starts_with('.') || name == "DICOMDIR" || NOT_IMAGES.contains(&extension.as_str())
}
