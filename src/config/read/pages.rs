//! Own pages for errors.

use std::path::Path;

use super::Known;
use super::said::{Either, ErrorPageSaid, PageTable};
use crate::config::problem::quoted;
use crate::config::route::{ErrorPage, ErrorPages};
use crate::config::source;
use crate::config::table::{At, Map, Said};
use crate::limits::ERROR_PAGE_BYTES_MAX;

/// The type of a page where none is said.
const TYPE_DEFAULT: &str = "text/html; charset=utf-8";

/// Types by the ending of a file.
const TYPES: &[(&str, &str)] =
    &[("html", TYPE_DEFAULT), ("json", "application/json"), ("txt", "text/plain; charset=utf-8")];

impl Known<'_, '_> {
    /// The pages that a table names, read from their files.
    pub(super) fn error_pages(&self, said: &Said<Map<ErrorPageSaid>>) -> ErrorPages {
        let mut pages = ErrorPages::new();
        for (key, page) in said.value.iter().flat_map(|map| &map.entries) {
            let status = key.value.parse().ok().filter(|status| (400..=599).contains(status));
            let Some(status) = status else {
                let message = format!("{} is no status of an error, from 400 to 599", quoted(&key.value));
                self.reader.error(key.place, message);
                continue;
            };
            let page = match &page.value {
                Either::Short(path) => self.page_of_file(page, path),
                Either::Long(table) => self.page_of_table(page, table),
            };
            if let Some(page) = page
                && pages.insert(status, page).is_some()
            {
                self.reader.error(key.place, format!("there are two pages for {status}"));
            }
        }
        pages
    }

    fn page_of_file(&self, said: &At<ErrorPageSaid>, path: &str) -> Option<ErrorPage> {
        let ending = Path::new(path).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let Some((_, content_type)) = TYPES.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known))
        else {
            let message = format!("{path:?} has no ending that says its type: html, json, txt");
            self.reader.error(said.place, message);
            return None;
        };
        let beside = self.sources.file(said.place).map_or(Path::new(""), |source| &source.path);
        let file = source::absolute(&source::beside(beside, path));
        match source::bytes(&file, ERROR_PAGE_BYTES_MAX as u64) {
            Ok(body) => Some(ErrorPage {
                file: Some(file),
                content_type: (*content_type).to_owned(),
                body: body.into(),
            }),
            Err(message) => {
                self.reader.error(said.place, format!("{path:?} {message}"));
                None
            }
        }
    }

    fn page_of_table(&self, said: &At<ErrorPageSaid>, table: &PageTable) -> Option<ErrorPage> {
        if !table.body.is_there() && table.unknown == 0 {
            self.reader.error(said.place, "has no `body`");
        }
        self.check_content_type(&table.content_type);
        let (place, body) = table.body.at()?;
        if body.len() > ERROR_PAGE_BYTES_MAX {
            self.reader.error(place, format!("is longer than {ERROR_PAGE_BYTES_MAX} bytes"));
        }
        Some(ErrorPage {
            file: None,
            content_type: table.content_type.value.clone().unwrap_or_else(|| TYPE_DEFAULT.to_owned()),
            body: body.as_bytes().into(),
        })
    }
}
