"""What users would otherwise pick, to compare with: translators without style and codebook."""
