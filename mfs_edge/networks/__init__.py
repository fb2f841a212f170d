"""The three networks in torch, under the official checkpoint keys: reference and oracle.

``spec`` describes their shapes without torch; import the others only where torch may load.
"""
