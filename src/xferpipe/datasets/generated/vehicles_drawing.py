"""Draw cars: a solid seen by a camera, with everything that tells one vehicle from another.

A car is a side profile pulled to the car's width, so that any viewpoint shows the right faces. What
belongs to the identity (body, colour, roof, plate, sticker) and what belongs to the camera and the
moment (viewpoint, light, blur, crop) are drawn from separate random streams.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy
from PIL import Image, ImageDraw, ImageFilter

from xferpipe.seeding import numpy_generator

Colour = tuple[int, int, int]
Point3 = tuple[float, float, float]

#: Length, height, width in metres, then the profile as fractions of length and height: end of the
#: hood (x, y), windscreen's top x, roof's end x, rear window's foot (x, y), height of the tail.
BODIES: dict[str, tuple[float, ...]] = {
    "saloon": (4.7, 1.45, 1.8, 0.22, 0.62, 0.06, -0.24, -0.38, 0.66, 0.60),
    "hatchback": (4.1, 1.50, 1.75, 0.24, 0.62, 0.08, -0.34, -0.48, 0.62, 0.56),
    "suv": (4.6, 1.80, 1.9, 0.24, 0.64, 0.12, -0.42, -0.49, 0.64, 0.56),
    "van": (5.0, 2.10, 1.95, 0.40, 0.55, 0.30, -0.48, -0.495, 0.60, 0.50),
    "pickup": (5.2, 1.75, 1.9, 0.22, 0.62, 0.10, -0.08, -0.12, 0.60, 0.60),
}
PAINTS: tuple[Colour, ...] = (
    (235, 235, 235),
    (25, 25, 28),
    (140, 143, 148),
    (190, 25, 30),
    (30, 60, 150),
    (20, 100, 60),
    (235, 190, 30),
    (120, 80, 50),
    (225, 110, 25),
    (90, 150, 200),
)
PLATES: tuple[Colour, ...] = ((250, 250, 250), (250, 220, 60), (60, 90, 200), (150, 220, 160))
GLASS: Colour = (35, 45, 55)
EDGES = ("front", "hood", "windscreen", "roof", "rear_window", "boot", "rear")
#: Direction that light comes from in the car's world, before the camera's own light is applied.
SUN = (0.35, 0.85, 0.4)


@dataclass(frozen=True)
class Car:
    """What is fixed for one identity."""

    body: str
    paint: Colour
    roof: str
    roof_paint: Colour
    plate: Colour
    plate_marks: tuple[bool, ...]
    sticker_paint: Colour
    sticker: tuple[float, float, float, float]

    @classmethod
    def of(cls, seed: int, identity: int) -> Car:
        """Return the car of an identity: the same for a seed, whatever else is drawn."""
        random = numpy_generator(seed, "vehicles", "identity", identity)
        paint = numpy.array(PAINTS[random.integers(len(PAINTS))]) + random.integers(-18, 19, 3)
        return cls(
            body=list(BODIES)[random.integers(len(BODIES))],
            paint=_colour(paint),
            roof=("plain", "contrast", "sunroof", "rack")[random.integers(4)],
            roof_paint=PAINTS[random.integers(len(PAINTS))],
            plate=PLATES[random.integers(len(PLATES))],
            plate_marks=tuple(bool(mark) for mark in random.integers(0, 2, 5)),
            sticker_paint=PAINTS[random.integers(len(PAINTS))],
            sticker=(
                random.uniform(-0.30, 0.15),
                random.uniform(0.22, 0.38),
                random.uniform(0.10, 0.25),
                random.uniform(0.08, 0.18),
            ),
        )


@dataclass(frozen=True)
class View:
    """What one picture adds: viewpoint, light, blur and crop."""

    yaw: float
    pitch: float
    light: tuple[float, float, float]
    blur_fraction: float
    zoom: float
    shift: tuple[float, float]
    ground: Colour
    sky: Colour

    @classmethod
    def of(cls, seed: int, camera: int, cameras: int, *moment: int) -> View:
        """Return the view of a camera, varied a little by the moment (identity, image)."""
        fixed = numpy_generator(seed, "vehicles", "camera", camera)
        random = numpy_generator(seed, "vehicles", "moment", camera, *moment)
        grey = fixed.integers(70, 150)
        tint = fixed.uniform(0.9, 1.1, 3) * fixed.uniform(0.7, 1.15) * random.uniform(0.9, 1.1)
        return cls(
            yaw=2 * math.pi * (camera + fixed.uniform(-0.2, 0.2)) / cameras
            + random.uniform(-0.25, 0.25),
            pitch=fixed.uniform(0.2, 0.6) + random.uniform(-0.06, 0.06),
            light=tuple(float(part) for part in tint),
            blur_fraction=fixed.uniform(0, 0.02) + random.uniform(0, 0.008),
            zoom=fixed.uniform(0.85, 1.05) * random.uniform(0.93, 1.07),
            shift=(random.uniform(-0.06, 0.06), random.uniform(-0.06, 0.06)),
            ground=_colour(grey + fixed.integers(-12, 13, 3)),
            sky=_colour(grey + 40 + fixed.integers(-25, 26, 3)),
        )


def draw(car: Car, view: View, px: int) -> Image.Image:
    """Draw a car as a camera sees it.

    Args:
        car: The identity.
        view: The camera at that moment.
        px: Side of the picture in pixels.
    Returns:
        An RGB image of `px` x `px`.
    """
    side = 2 * px  # drawn twice as large and reduced: the edges of polygons are not smooth
    image = Image.new("RGB", (side, side), view.ground)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, side, int(side * 0.3)), fill=view.sky)
    scene = _Scene(car, view, side)
    for face in scene.faces():
        pen.polygon(face.corners, fill=face.colour)
    image = image.resize((px, px), Image.Resampling.BOX)
    if view.blur_fraction * px > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(view.blur_fraction * px))
    return image


@dataclass(frozen=True)
class _Face:
    depth: float
    corners: list[tuple[float, float]]
    colour: Colour


class _Scene:
    """The faces of one car that a camera sees, far ones first."""

    def __init__(self, car: Car, view: View, side: int) -> None:
        self.car, self.view, self.side = car, view, side
        self.length, self.height, self.width, *_ = BODIES[car.body]
        # The longest body just fills the picture, from any direction.
        self.scale = side * view.zoom / 4.8
        self.cos, self.sin = math.cos(view.yaw), math.sin(view.yaw)

    def faces(self) -> list[_Face]:
        profile = self._profile()
        half = self.width / 2
        solid: list[_Face] = []
        details: list[_Face] = []
        for name, (x0, y0), (x1, y1) in zip(EDGES, profile[:-1], profile[1:], strict=True):
            normal = (y1 - y0, x0 - x1, 0.0)
            if self._depth(normal) <= 0:
                continue
            quad = [(x0, y0, -half), (x0, y0, half), (x1, y1, half), (x1, y1, -half)]
            solid.append(self._face(quad, self._paint(name), normal))
            details += self._on_edge(name, quad, normal)
        solid.sort(key=lambda face: face.depth)
        # The side that faces the camera is never hidden by the faces above.
        near = half if self._depth((0, 0, 1)) > 0 else -half
        return solid + details + self._on_side(profile, near)

    def _profile(self) -> list[tuple[float, float]]:
        _, _, _, hood_x, hood_y, screen_x, roof_x, foot_x, foot_y, tail_y = BODIES[self.car.body]
        points = [
            (0.5, 0.15),
            (0.5, 0.52),
            (hood_x, hood_y),
            (screen_x, 1.0),
            (roof_x, 1.0),
            (foot_x, foot_y),
            (-0.5, tail_y),
            (-0.5, 0.15),
        ]
        return [(x * self.length, y * self.height) for x, y in points]

    def _paint(self, edge: str) -> Colour:
        if edge in ("windscreen", "rear_window"):
            return GLASS
        if edge == "roof" and self.car.roof == "contrast":
            return self.car.roof_paint
        return self.car.paint

    def _on_edge(self, name: str, quad: list[Point3], normal: Point3) -> list[_Face]:
        """Plate on front and rear, sunroof or rack on the roof."""
        if name in ("front", "rear"):
            faces = [self._patch(quad, 0.3, 0.7, 0.15, 0.45, self.car.plate, normal)]
            for i, mark in enumerate(self.car.plate_marks):
                if mark:
                    left = 0.34 + 0.07 * i
                    faces.append(
                        self._patch(quad, left, left + 0.04, 0.2, 0.4, (20, 20, 20), normal)
                    )
            lamp = (255, 250, 215) if name == "front" else (190, 20, 20)
            faces.append(self._patch(quad, 0.04, 0.2, 0.6, 0.85, lamp, normal))
            faces.append(self._patch(quad, 0.8, 0.96, 0.6, 0.85, lamp, normal))
            return faces
        if name == "roof" and self.car.roof == "sunroof":
            return [self._patch(quad, 0.2, 0.8, 0.2, 0.6, GLASS, normal)]
        if name == "roof" and self.car.roof == "rack":
            return [
                self._patch(quad, 0.05, 0.95, at, at + 0.1, (30, 30, 30), normal)
                for at in (0.15, 0.45, 0.75)
            ]
        return []

    def _on_side(self, profile: list[tuple[float, float]], z: float) -> list[_Face]:
        """The near side: body, windows, wheels, sticker."""
        normal = (0.0, 0.0, math.copysign(1.0, z))
        faces = [self._face([(x, y, z) for x, y in profile], self.car.paint, normal)]
        _, hood, screen, roof, foot = profile[1:6]
        low = 0.06 * self.height
        window = [
            (hood[0] - 0.03 * self.length, hood[1] + low, z),
            (screen[0] - 0.01 * self.length, screen[1] - low, z),
            (roof[0] + 0.02 * self.length, roof[1] - low, z),
            (foot[0] + 0.05 * self.length, max(foot[1], hood[1]) + low, z),
        ]
        faces.append(self._face(window, GLASS, normal))
        x, y, wide, high = self.car.sticker
        sticker = [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)]
        faces.append(
            self._face(
                [(a * self.length, b * self.height, z) for a, b in sticker],
                self.car.sticker_paint,
                normal,
            )
        )
        radius = 0.33
        for centre in (0.32 * self.length, -0.32 * self.length):
            wheel = [
                (centre + radius * math.cos(turn), radius + radius * math.sin(turn), z)
                for turn in numpy.linspace(0, 2 * math.pi, 12, endpoint=False)
            ]
            faces.append(self._face(wheel, (22, 22, 22), normal))
        return faces

    def _patch(
        self,
        quad: list[Point3],
        left: float,
        right: float,
        low: float,
        high: float,
        colour: Colour,
        normal: Point3,
    ) -> _Face:
        """A rectangle on a face, in fractions of the face's two sides."""
        origin, across, _, up = (numpy.array(corner) for corner in quad)
        corners = [
            tuple(origin + u * (across - origin) + v * (up - origin))
            for u, v in ((left, low), (right, low), (right, high), (left, high))
        ]
        return self._face(corners, colour, normal)

    def _face(self, corners: list[Point3], colour: Colour, normal: Point3) -> _Face:
        size = math.sqrt(sum(part * part for part in normal))
        facing = sum(a * b for a, b in zip(normal, SUN, strict=True)) / size
        shade = 0.75 + 0.3 * facing
        lit = [part * shade * light for part, light in zip(colour, self.view.light, strict=True)]
        depth = sum(self._depth(corner) for corner in corners) / len(corners)
        return _Face(depth, [self._pixel(corner) for corner in corners], _colour(lit))

    def _depth(self, point: Point3) -> float:
        """Distance towards the camera, in the car's units."""
        x, y, z = point
        ahead = x * self.sin + z * self.cos
        return ahead * math.cos(self.view.pitch) + y * math.sin(self.view.pitch)

    def _pixel(self, point: Point3) -> tuple[float, float]:
        x, y, z = point
        y -= self.height / 2
        right = x * self.cos - z * self.sin
        ahead = x * self.sin + z * self.cos
        up = y * math.cos(self.view.pitch) - ahead * math.sin(self.view.pitch)
        return (
            self.side * (0.5 + self.view.shift[0]) + self.scale * right,
            self.side * (0.55 + self.view.shift[1]) - self.scale * up,
        )


def _colour(values) -> Colour:
    red, green, blue = (int(min(max(value, 0), 255)) for value in values)
    return red, green, blue
