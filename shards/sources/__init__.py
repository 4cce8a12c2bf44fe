"""Photo sources: SA-1B tars, folders and COCO json, with subsets and augmented views."""
