//! `OpenSlide`'s C library behind a safe interface: levels, properties, colour profile and regions of a slide, and nothing else of it.
//!
//! The library is loaded at run time, so that a machine that reads no slides needs none. It parses hostile files in C: whoever calls
//! this does so in a process of its own. Label and overview images, which may show a name, are not reachable through here.

use std::ffi::{CStr, CString, c_char, c_double, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use libloading::Library;

/// `openslide_t`.
type Handle = *mut c_void;

/// The functions of `openslide.h` (version 4) that are used.
struct Functions {
    open: unsafe extern "C" fn(*const c_char) -> Handle,
    close: unsafe extern "C" fn(Handle),
    error: unsafe extern "C" fn(Handle) -> *const c_char,
    level_count: unsafe extern "C" fn(Handle) -> i32,
    level_dimensions: unsafe extern "C" fn(Handle, i32, *mut i64, *mut i64),
    level_downsample: unsafe extern "C" fn(Handle, i32) -> c_double,
    property: unsafe extern "C" fn(Handle, *const c_char) -> *const c_char,
    read_region: unsafe extern "C" fn(Handle, *mut u32, i64, i64, i32, i64, i64),
    icc_profile_size: unsafe extern "C" fn(Handle) -> i64,
    read_icc_profile: unsafe extern "C" fn(Handle, *mut c_void),
}

/// The library.
pub struct OpenSlide {
    functions: Functions,
    /// Holds the functions' code: dropped after them.
    _library: Library,
}

/// One level of a slide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Columns and rows.
    pub size: (u32, u32),
    /// How many pixels of the full resolution one of its pixels stands for, along a side.
    pub downsample: f64,
}

/// An open slide.
pub struct Slide<'library> {
    library: &'library OpenSlide,
    handle: Handle,
}

impl OpenSlide {
    /// Loads `libopenslide`, version 4.
    ///
    /// # Errors
    /// It is not there, or is no such library: what the loader says.
    pub fn load(path: &Path) -> Result<Self, String> {
        // SAFETY: the library is the one that the installation names; its initialisers are those of OpenSlide and its dependencies.
        let library = unsafe { Library::new(path) }.map_err(|e| e.to_string())?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the type is that of the declaration in `openslide.h`.
                *unsafe { library.get(concat!($name, "\0").as_bytes()) }.map_err(|e| e.to_string())?
            };
        }
        let functions = Functions {
            open: function!("openslide_open"),
            close: function!("openslide_close"),
            error: function!("openslide_get_error"),
            level_count: function!("openslide_get_level_count"),
            level_dimensions: function!("openslide_get_level_dimensions"),
            level_downsample: function!("openslide_get_level_downsample"),
            property: function!("openslide_get_property_value"),
            read_region: function!("openslide_read_region"),
            icc_profile_size: function!("openslide_get_icc_profile_size"),
            read_icc_profile: function!("openslide_read_icc_profile"),
        };
        Ok(Self { functions, _library: library })
    }

    /// Opens a slide.
    ///
    /// # Errors
    /// The file is of no format that the library knows, or is damaged: what it says.
    pub fn slide(&self, path: &Path) -> Result<Slide<'_>, String> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
        // SAFETY: the path is a C string that lives through the call.
        let handle = unsafe { (self.functions.open)(path.as_ptr()) };
        if handle.is_null() {
            return Err("it is of no format that OpenSlide knows".to_owned());
        }
        let slide = Slide { library: self, handle };
        slide.error().map_or(Ok(slide), Err)
    }
}

impl Slide<'_> {
    /// Its levels, the full resolution first.
    ///
    /// # Errors
    /// The slide is damaged: what the library says.
    pub fn levels(&self) -> Result<Vec<Level>, String> {
        let f = &self.library.functions;
        // SAFETY: the handle is open.
        let count = unsafe { (f.level_count)(self.handle) };
        let level = |level| {
            let (mut columns, mut rows) = (0, 0);
            // SAFETY: the handle is open, the level is one of it, the places are valid.
            let downsample = unsafe {
                (f.level_dimensions)(self.handle, level, &raw mut columns, &raw mut rows);
                (f.level_downsample)(self.handle, level)
            };
            let side = |n: i64| u32::try_from(n).map_err(|_| format!("a side of {n} pixels"));
            Ok(Level { size: (side(columns)?, side(rows)?), downsample })
        };
        let levels = (0..count).map(level).collect();
        self.error().map_or(levels, Err)
    }

    /// A property by its name, such as `openslide.mpp-x`.
    pub fn property(&self, name: &str) -> Option<String> {
        let name = CString::new(name).ok()?;
        // SAFETY: the handle is open; the answer is null or a C string that lives as long as the slide.
        let value = unsafe { (self.library.functions.property)(self.handle, name.as_ptr()) };
        if value.is_null() {
            return None;
        }
        // SAFETY: as above.
        Some(unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned())
    }

    /// A part of a level as RGB, three bytes a pixel; white where the slide has no pixels. `left` and `top` count pixels of the full
    /// resolution, `columns` and `rows` those of the level.
    ///
    /// # Errors
    /// The slide is damaged there: what the library says. The slide cannot be read any further then and must be opened anew.
    pub fn rgb(&self, level: u32, left: i64, top: i64, columns: u32, rows: u32) -> Result<Vec<u8>, String> {
        let level = i32::try_from(level).map_err(|e| e.to_string())?;
        let mut pixels = vec![0_u32; columns as usize * rows as usize];
        // SAFETY: the handle is open and the buffer holds `columns * rows` pixels; a level that is not there leaves it empty.
        unsafe {
            let f = &self.library.functions;
            (f.read_region)(self.handle, pixels.as_mut_ptr(), left, top, level, columns.into(), rows.into());
        }
        self.error().map_or_else(|| Ok(over_white(&pixels)), Err)
    }

    /// The ICC profile of its pixels; empty where it has none.
    ///
    /// # Errors
    /// The slide is damaged there, or the profile is larger than `most` bytes.
    pub fn icc_profile(&self, most: usize) -> Result<Vec<u8>, String> {
        let f = &self.library.functions;
        // SAFETY: the handle is open.
        let size = unsafe { (f.icc_profile_size)(self.handle) };
        if let Some(why) = self.error() {
            return Err(why);
        }
        let size = usize::try_from(size).unwrap_or_default();
        if size > most {
            return Err(format!("a colour profile of {size} bytes"));
        }
        let mut profile = vec![0; size];
        if size > 0 {
            // SAFETY: the handle is open and the buffer holds as many bytes as the library said.
            unsafe { (f.read_icc_profile)(self.handle, profile.as_mut_ptr().cast()) };
        }
        self.error().map_or(Ok(profile), Err)
    }

    fn error(&self) -> Option<String> {
        // SAFETY: the handle is open; the answer is null or a C string that lives as long as the slide.
        let text = unsafe { (self.library.functions.error)(self.handle) };
        // SAFETY: as above.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }
}

impl Drop for Slide<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is open and is not used again.
        unsafe { (self.library.functions.close)(self.handle) }
    }
}

/// Premultiplied ARGB in native words, as `OpenSlide` gives it, laid over white.
fn over_white(pixels: &[u32]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(pixels.len() * 3);
    for pixel in pixels {
        let [alpha, red, green, blue] = pixel.to_be_bytes();
        let white = 255 - alpha;
        rgb.extend([red.saturating_add(white), green.saturating_add(white), blue.saturating_add(white)]);
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_transparent_is_white() {
        assert_eq!(over_white(&[0, 0xFF01_0203, 0x8010_2030]), [255, 255, 255, 1, 2, 3, 143, 159, 175]);
    }

    #[test]
    fn a_library_that_is_not_there_is_told() {
        assert!(OpenSlide::load(Path::new("/nonexistent/libopenslide.so")).is_err());
        assert!(OpenSlide::load(Path::new("/etc/hostname")).is_err());
    }
}
