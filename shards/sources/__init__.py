"""Where photos come from: SA-1B tars, folders, COCO json; parts and views of them."""
