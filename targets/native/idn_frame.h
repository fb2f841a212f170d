/* idn_frame: a face swapped in a whole camera frame. Beside idn.h, whose manual comes first.

   MANUAL

   An app adds idn_frame.h and idn_frame.c to idn.h and idn.c. One call finds nothing: it takes five landmarks, and then
   aligns, runs the network, softens its mask and pastes the face back, in place.

     void *arena = aligned_alloc(IDN_ALIGNMENT, IDN_FRAME_BYTES(1));
     idn_frame frame = {{luma, chroma}, {luma_stride, chroma_stride}, 1920, 1080, IDN_NV12, IDN_BT601};
     double landmarks[10] = {...};                           x, y of: both eyes, the nose, both corners of the mouth
     int error = idn_swap_frame(&model, &frame, landmarks, arena, IDN_FRAME_BYTES(1));
     if (error) puts(idn_error(error));

   Landmarks. Pixels of the frame, from the centre of the one at its top left; of the eyes, and of the mouth's corners,
   the one on the left of the picture comes first. They may lie beyond the frame, as long as the crop reaches into it:
   what lies beyond reads as the frame's border.

   Frames. Sides of 2 to IDN_MAX_SIDE pixels; a stride is the bytes from one row to the next, at least a row.
                    data[0], stride[0]     data[1], stride[1]     data[2], stride[2]
     IDN_RGB8       R G B                  -                      -
     IDN_RGBA8      R G B A                -                      -                      alpha is left as it is
     IDN_BGRA8      B G R A                -                      -                      alpha is left as it is
     IDN_NV12       luma                   U V in turns           -                      420v and 420f of Apple's
     IDN_NV21       luma                   V U in turns           -                      Android's
     IDN_I420       luma                   U                      V                      also called YUV420 planar
   Chroma has a sample for two by two pixels, (width + 1) / 2 by (height + 1) / 2 of them, taken to lie in their middle.
   colour says what the numbers mean: IDN_BT601 and IDN_BT709 with luma of 16 to 235, IDN_BT601_FULL and IDN_BT709_FULL
   with 0 to 255. It is not read for RGB.

   What is written. Samples within the face's box only: the crop's corners on the frame. What the mask leaves at 0 stays
   as it is, bit for bit, also within the box, and so does what lies between rows. A chroma sample is mixed from the
   faces and masks of its pixels.

   Memory. All of it is the caller's, as in idn.h; it does not grow with the frame or the face.
     an arena       IDN_FRAME_BYTES(workers)   of idn_swap_frame, at a multiple of IDN_ALIGNMENT
     a room         IDN_PASTE_BYTES            of idn_paste, likewise
   The stack holds less than 8 KB. One model serves any number of frames at once, each with an arena of its own.

   Parts. idn_affine, idn_align, idn_run and idn_paste are what idn_swap_frame calls: for apps that run the network
   elsewhere, for one that times them, and for several crops of one face. matrix is [2][3], from the frame to the crop.
   model says which instruction set is used (idn_set_cpu); where it is null, the one that the file was compiled for.

   Errors, besides those of idn.h; nothing was written.
     IDN_EFRAME      a side of the frame is not 2..IDN_MAX_SIDE
     IDN_EFORMAT     not an idn_format or idn_frame_format for frames, or not an idn_colour; for a crop, not bytes
     IDN_EARENA      fewer bytes than IDN_FRAME_BYTES(workers), or than IDN_PASTE_BYTES
     IDN_ELANDMARKS  not finite, on one line, or so close or far that no face can be meant; of a matrix likewise
     IDN_EMIRRORED   they would mirror the face: its left and right are exchanged, or x and y
     IDN_EOUTSIDE    nothing of their crop lies within the frame

   Arithmetic. Bilinear, as of warpAffine in OpenCV 5; OpenCV 4 rounds places to a 32nd of a pixel. The mask is cut at
   0.001, dilated 11x11, eroded 11x11 twice, blurred 7x7 and multiplied by a border of 10 pixels, blurred 11x11. */
#ifndef IDN_FRAME_H
#define IDN_FRAME_H
#include "idn.h"
#ifdef __cplusplus
extern "C" {
#endif

#define IDN_MAX_SIDE 32766
/* A face and its softened mask in 16 bits; a byte per pixel; and two maps of bits. */
#define IDN_PASTE_BYTES ((size_t)IDN_SIZE * IDN_SIZE * 9 + (size_t)IDN_SIZE * ((IDN_SIZE + 63) / 64) * 16)
/* The network's arena, of which the paste takes the place, a mask of floats and a crop. */
#define IDN_FRAME_BYTES(workers) \
  ((IDN_ARENA_BYTES(workers) > IDN_PASTE_BYTES ? IDN_ARENA_BYTES(workers) : IDN_PASTE_BYTES) + (size_t)IDN_SIZE * IDN_SIZE * 7)

typedef enum { IDN_NV12 = 5, IDN_NV21 = 6, IDN_I420 = 7 } idn_frame_format; /* and IDN_RGB8, IDN_RGBA8, IDN_BGRA8 */
typedef enum { IDN_BT601 = 0, IDN_BT709 = 1, IDN_BT601_FULL = 2, IDN_BT709_FULL = 3 } idn_colour;

typedef struct {
  void *data[3];
  size_t stride[3];
  int width, height;
  int format, colour;
} idn_frame;

/* The numbers above, for languages that read no macros. idn_frame_bytes is 0 for a number of workers that cannot be. */
size_t idn_frame_bytes(int workers);
size_t idn_paste_bytes(void);

/* Swap the face at these landmarks, in place. */
int idn_swap_frame(const idn_model *model, const idn_frame *frame, const double landmarks[10], void *arena, size_t arena_bytes);
int idn_swap_frame_parallel(const idn_model *model, const idn_frame *frame, const double landmarks[10], void *arena, size_t arena_bytes, int workers, idn_parallel parallel, void *user);

/* The affine map that takes landmarks in a frame onto the crop's, by least squares. */
int idn_affine(const idn_frame *frame, const double landmarks[10], double matrix[6]);
/* The crop of a face, bytes of RGB in any order; alpha is left as it is. */
int idn_align(const idn_model *model, const idn_frame *frame, const double matrix[6], const idn_image *crop);
int idn_align_parallel(const idn_model *model, const idn_frame *frame, const double matrix[6], const idn_image *crop, int workers, idn_parallel parallel, void *user);
/* A swapped crop back into its frame by its mask; both as idn_run gives them, in any format. */
int idn_paste(const idn_model *model, const idn_frame *frame, const double matrix[6], const idn_image *swapped, const idn_image *mask, void *room, size_t room_bytes);
int idn_paste_parallel(const idn_model *model, const idn_frame *frame, const double matrix[6], const idn_image *swapped, const idn_image *mask, void *room, size_t room_bytes, int workers, idn_parallel parallel, void *user);
#ifdef __cplusplus
}
#endif
#endif
