//! mimalloc as the program's allocator.
//!
//! The crate `mimalloc` asks for every block with its alignment spelled out. mimalloc then leaves its short way for any
//! block of more than 1 KiB: it takes a larger one, aligns within it, and frees it by the long way too. That was some 4 %
//! of the instructions of a request, for an alignment that every block of such a size has anyway.
#![allow(
    unsafe_code,
    reason = "an allocator hands out raw memory, and mimalloc is C; nothing else in the project needs it"
)]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mi;

/// What every block has that is at least as large (`MI_MAX_ALIGN_SIZE`).
const NATURAL: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Mimalloc;

/// mimalloc aligns the block by itself: one of 8 bytes at 8, all larger ones at 16.
fn is_natural(layout: Layout) -> bool {
    layout.align() <= NATURAL && layout.align() <= layout.size()
}

// SAFETY: the blocks are mimalloc's, valid and not shared until they are freed, of the size that was asked for, and aligned:
// either mimalloc was told to, or it does so for every block of that size (`is_natural`). `mi_free` and the two kinds of
// `mi_realloc` take blocks from either way. Nothing here unwinds.
unsafe impl GlobalAlloc for Mimalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and any power of two are allowed; no memory left is a null pointer, as here.
        let block = unsafe {
            match is_natural(layout) {
                true => mi::mi_malloc(layout.size()),
                false => mi::mi_malloc_aligned(layout.size(), layout.align()),
            }
        };
        block.cast()
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        let block = unsafe {
            match is_natural(layout) {
                true => mi::mi_zalloc(layout.size()),
                false => mi::mi_zalloc_aligned(layout.size(), layout.align()),
            }
        };
        block.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the caller has it from here, and will not use it again.
        unsafe { mi::mi_free(block.cast()) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // What is natural is judged by the smaller size: a block that shrinks may be moved to where only that holds.
        let smaller = layout.size().min(size);
        let is_natural = layout.align() <= NATURAL && layout.align() <= smaller;
        // SAFETY: the caller has it from here, and uses what is returned in its place unless that is null.
        let block = unsafe {
            match is_natural {
                true => mi::mi_realloc(block.cast(), size),
                false => mi::mi_realloc_aligned(block.cast(), size, layout.align()),
            }
        };
        block.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layouts() -> impl Iterator<Item = Layout> {
        let sizes = (1..=130).chain([1023, 1024, 1025, 1728, 4097, 70_000, 3 << 20]);
        sizes.flat_map(|size| {
            (0..=12).map(move |power| Layout::from_size_align(size, 1 << power).unwrap())
        })
    }

    /// Writes a block full, and reads it again.
    fn is_ours(block: *mut u8, size: usize) -> bool {
        // SAFETY: the tests ask only about blocks of at least this size.
        let bytes = unsafe { std::slice::from_raw_parts_mut(block, size) };
        bytes.fill(0xa5);
        bytes.iter().all(|byte| *byte == 0xa5)
    }

    #[test]
    fn every_block_is_aligned_and_as_large_as_asked_for() {
        for layout in layouts() {
            // Several at once: the first of a page may be aligned by chance.
            // SAFETY: no layout is empty; each block is freed once, with its layout.
            let blocks: Vec<*mut u8> = (0..9).map(|_| unsafe { Mimalloc.alloc(layout) }).collect();
            for &block in &blocks {
                assert_eq!(block as usize % layout.align(), 0, "{layout:?}");
                assert!(is_ours(block, layout.size()), "{layout:?}");
            }
            for block in blocks {
                // SAFETY: as above.
                unsafe { Mimalloc.dealloc(block, layout) };
            }
        }
    }

    #[test]
    fn zeroed_blocks_are_zero_also_where_others_have_been() {
        for layout in layouts() {
            // SAFETY: no layout is empty; each block is freed once, with its layout.
            unsafe {
                let used = Mimalloc.alloc(layout);
                assert!(is_ours(used, layout.size()));
                Mimalloc.dealloc(used, layout);
                let block = Mimalloc.alloc_zeroed(layout);
                assert_eq!(block as usize % layout.align(), 0, "{layout:?}");
                let bytes = std::slice::from_raw_parts(block, layout.size());
                assert!(bytes.iter().all(|byte| *byte == 0), "{layout:?}");
                Mimalloc.dealloc(block, layout);
            }
        }
    }

    #[test]
    fn a_block_that_grows_or_shrinks_keeps_its_bytes_and_its_alignment() {
        for layout in layouts() {
            for size in [1, 8, 24, 1500, 5000] {
                // SAFETY: no layout is empty; the block is freed once, with the layout it has by then.
                unsafe {
                    let block = Mimalloc.alloc(layout);
                    assert!(is_ours(block, layout.size()));
                    let block = Mimalloc.realloc(block, layout, size);
                    assert_eq!(block as usize % layout.align(), 0, "{layout:?} to {size}");
                    let kept = std::slice::from_raw_parts(block, size.min(layout.size()));
                    assert!(
                        kept.iter().all(|byte| *byte == 0xa5),
                        "{layout:?} to {size}"
                    );
                    let now = Layout::from_size_align(size, layout.align()).unwrap();
                    Mimalloc.dealloc(block, now);
                }
            }
        }
    }
}
