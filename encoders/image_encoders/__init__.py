"""Image encoders: RepViT, TinyViT, timm backbones, SAM's ViTs."""
